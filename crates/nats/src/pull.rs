//! Messages of a stream, asked for in advance.

use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::pull::{BatchConfig, Config};
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, ReplayPolicy};
use async_nats::jetstream::stream::Stream;
use async_nats::jetstream::{self, Context};
use async_nats::{Message, StatusCode, Subject, Subscriber};
use futures_util::StreamExt;

use crate::broker;
use crate::error::Failure;
use crate::link::Link;
use crate::settings::FORGET;

/// The limits of one pull request, in bytes. The least one has room for the longest record.
const LEAST: usize = 2 << 20;
const MOST: usize = 8 << 20;
/// More than any message of any server.
const LONGEST: usize = 128 << 20;
/// The request size sustains this rate, in bytes a second.
const RATE: f64 = 400e6;
/// How long a request for messages waits at the broker.
const EXPIRES: Duration = Duration::from_secs(5);
/// The longest time without a message or a status from the broker.
const SILENCE: Duration = Duration::from_secs(8);

/// Messages of the stream, in order. Each request asks for [`bytes`](Pull::bytes). The next
/// request is made once half of them have come. So at most 1.5 times as many bytes are on
/// their way, which bounds the memory of a receiver.
pub(crate) struct Pull {
    context: Context,
    consumer: Consumer<Config>,
    inbound: Subscriber,
    inbox: Subject,
    /// Bytes of a request.
    bytes: usize,
    /// Bytes of a request, unless a long message comes.
    usual: usize,
    /// Bytes that were asked for, and have not come.
    credit: usize,
    /// Messages delivered so far.
    delivered: u64,
    /// When the last message or status came.
    heard: Instant,
}

impl Pull {
    /// Creates a consumer of the log, from its first record on. Before this, the broker has
    /// answered one request since `asked`.
    pub(crate) async fn start(
        link: &Link,
        context: &Context,
        stream: &Stream<()>,
        asked: Instant,
    ) -> Result<Pull, Failure> {
        let config = Config {
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::None,
            replay_policy: ReplayPolicy::Instant,
            inactive_threshold: FORGET,
            memory_storage: true,
            num_replicas: 1,
            ..Config::default()
        };
        let consumer = stream.create_consumer(config).await;
        let consumer = consumer.map_err(|error| match error.kind() {
            jetstream::stream::ConsumerErrorKind::JetStream(error) => broker::judge(error),
            _ => Failure::again(error),
        })?;
        // Two requests were answered: a round trip took half of that.
        let trip = asked.elapsed() / 2;
        let client = link.client();
        let bytes = ((RATE * trip.as_secs_f64()) as usize).clamp(LEAST, MOST);
        let inbox = Subject::from(client.new_inbox());
        let inbound = client.subscribe(inbox.clone()).await;
        Ok(Pull {
            context: context.clone(),
            consumer,
            inbound: inbound.map_err(Failure::again)?,
            inbox,
            bytes,
            usual: bytes,
            credit: 0,
            delivered: 0,
            heard: Instant::now(),
        })
    }

    /// Notes that the caller had no time for messages: the broker was not silent.
    pub(crate) fn was_away(&mut self) {
        self.heard = Instant::now();
    }

    /// The next message, and its sequence. `None` for a status message.
    /// Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Option<(u64, Message)>, Failure> {
        if self.credit <= self.bytes / 2 {
            let request = BatchConfig {
                batch: 100_000,
                max_bytes: self.bytes,
                expires: Some(EXPIRES),
                ..BatchConfig::default()
            };
            let asked = self.consumer.request_batch(request, self.inbox.clone());
            asked.await.map_err(Failure::again)?;
            self.credit += self.bytes;
            self.heard = Instant::now();
        }
        let silence = SILENCE.saturating_sub(self.heard.elapsed());
        let message = match tokio::time::timeout(silence, self.inbound.next()).await {
            Ok(Some(message)) => message,
            Ok(None) => return Err(Failure::again("the connection has ended")),
            Err(_) => return Err(Failure::again("the broker says nothing")),
        };
        self.heard = Instant::now();
        match message.status {
            None | Some(StatusCode::OK) => self.delivered(message).map(Some),
            Some(StatusCode::IDLE_HEARTBEAT) => Ok(None),
            Some(status) => self.ended(status, &message).map(|()| None),
        }
    }

    fn delivered(&mut self, message: Message) -> Result<(u64, Message), Failure> {
        self.credit = self.credit.saturating_sub(message.length);
        let message = jetstream::Message {
            message,
            context: self.context.clone(),
        };
        let info = message.info().map_err(Failure::again)?;
        let (sequence, number) = (info.stream_sequence, info.consumer_sequence);
        self.bytes = self.usual;
        self.delivered += 1;
        if number != self.delivered {
            return Err(Failure::again("messages were lost on their way"));
        }
        Ok((sequence, message.message))
    }

    /// Acts on the end of a request.
    fn ended(&mut self, status: StatusCode, message: &Message) -> Result<(), Failure> {
        let description = message.description.as_deref().unwrap_or_default();
        let is_usual = match status {
            StatusCode::TIMEOUT | StatusCode::NOT_FOUND => true,
            StatusCode::REQUEST_TERMINATED => {
                description.to_ascii_lowercase().contains("maxbytes")
                    || description.to_ascii_lowercase().contains("batch completed")
            }
            _ => false,
        };
        if !is_usual {
            return Err(Failure::again(format!(
                "the broker ends a request: {status} {description}"
            )));
        }
        let headers = message.headers.as_ref();
        let pending = headers.and_then(|headers| headers.get("Nats-Pending-Bytes"));
        let pending = pending.and_then(|pending| pending.as_str().parse().ok());
        let pending = pending.unwrap_or(usize::MAX);
        self.credit = self.credit.saturating_sub(pending);
        if status == StatusCode::REQUEST_TERMINATED && pending >= self.bytes {
            // The next message is longer than a whole request. No relay writes such a message.
            self.bytes = (self.bytes * 2).min(LONGEST);
        }
        Ok(())
    }
}
