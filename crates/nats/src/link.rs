//! The connection to a broker.

use std::fmt;
use std::time::{Duration, Instant};

use async_nats::jetstream::{Context, ContextBuilder};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerError};
use tokio::sync::watch;

use crate::error::{Error, Failure};
use crate::window::RECORDS;

/// The longest wait for the answer to a request, or for an acknowledgement.
const ANSWER: Duration = Duration::from_secs(5);
/// The waits between attempts to connect.
const LEAST_PAUSE: Duration = Duration::from_millis(50);
const MOST_PAUSE: Duration = Duration::from_secs(2);

/// A connection to a broker, and what the broker has forbidden on it. The client restores
/// the connection by itself.
#[derive(Clone)]
pub struct Link {
    client: Client,
    domain: Option<String>,
    forbidden: watch::Receiver<Option<String>>,
    /// How often a connection was made.
    connections: watch::Receiver<u64>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

impl Link {
    /// Connects. The options are the client's own: credentials, TLS, names of inboxes. Its
    /// event callback is set here. `servers` are URLs with commas between them.
    ///
    /// While no server answers, this call tries again, for as long as `patience` says.
    ///
    /// # Errors
    ///
    /// [`Error::Connect`] if a server refuses the credentials or the TLS settings, if an
    /// address is not valid, or after `patience`.
    pub async fn connect(
        servers: &str,
        options: ConnectOptions,
        patience: Option<Duration>,
    ) -> Result<Link, Error> {
        let (tell, forbidden) = watch::channel(None);
        let (count, connections) = watch::channel(0);
        let options = options
            .name("shmpipe-nats")
            .request_timeout(Some(ANSWER))
            .ping_interval(Duration::from_secs(5))
            .event_callback(move |event| {
                let (tell, count) = (tell.clone(), count.clone());
                async move {
                    match event {
                        Event::Connected => count.send_modify(|count| *count += 1),
                        Event::ServerError(ServerError::Other(text))
                            if text.to_ascii_lowercase().contains("permissions violation") =>
                        {
                            tell.send_replace(Some(text));
                        }
                        _ => {}
                    }
                }
            });
        let addresses: Vec<&str> = servers.split(',').map(str::trim).collect();
        let (start, mut pause) = (Instant::now(), LEAST_PAUSE);
        let client = loop {
            let error = match options.clone().connect(&addresses[..]).await {
                Ok(client) => break client,
                Err(error) => error,
            };
            let passes = matches!(
                error.kind(),
                ConnectErrorKind::Io | ConnectErrorKind::TimedOut | ConnectErrorKind::Dns
            );
            if !passes || patience.is_some_and(|patience| start.elapsed() >= patience) {
                return Err(error.into());
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(MOST_PAUSE);
        };
        Ok(Link {
            client,
            domain: None,
            forbidden,
            connections,
        })
    }

    /// Uses the JetStream of this domain, such as that of a leaf node.
    #[must_use]
    pub fn domain(mut self, domain: Option<String>) -> Link {
        self.domain = domain;
        self
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn context(&self) -> Context {
        let builder = ContextBuilder::new()
            .timeout(ANSWER)
            .max_ack_inflight(RECORDS * 2)
            .ack_timeout(ANSWER);
        match &self.domain {
            Some(domain) => builder.domain(domain).build(self.client.clone()),
            None => builder.build(self.client.clone()),
        }
    }

    /// Returns a wait for new connections. Requests that were in flight when a connection
    /// broke get no answer.
    pub(crate) fn restored(&self) -> Restored {
        Restored(self.connections.clone())
    }

    /// Waits until the broker forbids something.
    pub(crate) async fn forbidden(&self) -> Error {
        let mut forbidden = self.forbidden.clone();
        match forbidden.wait_for(Option::is_some).await {
            Ok(text) => Error::Forbidden(text.clone().unwrap_or_default()),
            Err(_) => std::future::pending().await, // the client was dropped
        }
    }
}

/// Waits for new connections.
#[derive(Debug)]
pub(crate) struct Restored(watch::Receiver<u64>);

impl Restored {
    /// Waits for the next connection. The first connection does not count.
    pub(crate) async fn next(&mut self) -> Failure {
        while self.0.changed().await.is_ok() {
            if *self.0.borrow_and_update() > 1 {
                return Failure::again("the connection was lost, and is restored");
            }
        }
        std::future::pending().await // the client was dropped
    }
}

/// The pauses between attempts: twice as long each time.
#[derive(Debug)]
pub(crate) struct Pauses(Duration);

impl Pauses {
    pub(crate) fn new() -> Pauses {
        Pauses(LEAST_PAUSE)
    }

    pub(crate) fn reset(&mut self) {
        *self = Pauses::new();
    }

    pub(crate) async fn pause(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(MOST_PAUSE);
    }
}
