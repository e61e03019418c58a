//! The stream at the broker: its end, and its messages as records.

use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::{Info, LastRawMessageErrorKind, RawMessageErrorKind, Stream};
use async_nats::jetstream::{self, Context, ErrorCode, context::RequestErrorKind};
use async_nats::{HeaderMap, Subject};
use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, Failure};
use crate::log::{self, LogEnd, Search};
use crate::record::{Record, RecordError};
use crate::settings::{self, Create, Name};

/// Sends a request to the JetStream API.
async fn request<T: serde::Serialize, V: serde::de::DeserializeOwned>(
    context: &Context,
    subject: String,
    payload: &T,
) -> Result<Result<V, jetstream::Error>, Failure> {
    match context.request(subject, payload).await {
        Ok(Response::Ok(value)) => Ok(Ok(value)),
        Ok(Response::Err { error }) => Ok(Err(error)),
        Err(error) => match error.kind() {
            RequestErrorKind::NoResponders => {
                Err(Failure::again("no JetStream answers at the broker"))
            }
            _ => Err(Failure::again(error)),
        },
    }
}

/// Judges whether an error of the broker may pass by itself.
pub(crate) fn judge(error: jetstream::Error) -> Failure {
    match error.error_code() {
        ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => {
            Error::NoJetStream(error.to_string()).into()
        }
        ErrorCode::STREAM_SUBJECT_OVERLAP
        | ErrorCode::STREAM_INVALID_CONFIG
        | ErrorCode::STREAM_MAX_BYTES_REQUIRED
        | ErrorCode::STREAM_MAX_STREAM_BYTES_EXCEEDED
        | ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED
        | ErrorCode::MAXIMUM_STREAMS_LIMIT
        | ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM
        | ErrorCode::STREAM_PURGE_FAILED
        | ErrorCode::STREAM_SEALED => Error::Refused(error.to_string()).into(),
        _ => Failure::again(error),
    }
}

/// Whether the broker refuses a message because it has no room for it.
pub(crate) fn is_full(error: &jetstream::Error) -> bool {
    matches!(
        error.error_code(),
        ErrorCode::STREAM_STORE_FAILED
            | ErrorCode::STORAGE_RESOURCES_EXCEEDED
            | ErrorCode::ACCOUNT_RESOURCES_EXCEEDED
            | ErrorCode::MEMORY_RESOURCES_EXCEEDED
            | ErrorCode::INSUFFICIENT_RESOURCES
    )
}

/// Finds the stream, or creates it. Returns its settings and its state.
pub(crate) async fn find(
    context: &Context,
    name: &Name,
    create: Option<Create>,
) -> Result<Info, Failure> {
    let found = request(context, format!("STREAM.INFO.{name}"), &()).await?;
    let found: Value = match (found, create) {
        (Ok(found), _) => found,
        (Err(error), create) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {
            let Some(create) = create else {
                return Err(Error::NoStream(name.to_string()).into());
            };
            let config = settings::config(name, create);
            settings::check(name, &config)?;
            request(context, format!("STREAM.CREATE.{name}"), &config)
                .await?
                .map_err(judge)?
        }
        (Err(error), _) => return Err(judge(error)),
    };
    let info = Info::deserialize(&found).map_err(Failure::again)?;
    settings::check(name, &info.config)?;
    settings::check_newer(name, &found["config"])?;
    Ok(info)
}

/// A handle for single messages of the stream.
pub(crate) async fn handle(context: &Context, name: &Name) -> Result<Stream<()>, Failure> {
    let handle = context.get_stream_no_info(name.to_string()).await;
    handle.map_err(Failure::again)
}

/// Reads a message of the stream as a record. `None` if the message is none of ours.
pub(crate) fn record(
    name: &Name,
    sequence: u64,
    subject: &Subject,
    headers: Option<&HeaderMap>,
    len: usize,
) -> Result<Option<Record>, Error> {
    let get = |header| headers?.get(header).map(|value| value.as_str());
    let mut record = Record::parse(get, len);
    // Claims, and only claims, have the claims subject, by which a sender finds the last one.
    if let Ok(parsed) = &record
        && parsed.kind.is_claim() != (subject.as_str() == name.claims())
    {
        record = Err(RecordError::Header {
            header: "Kind",
            found: get("Kind").map(str::to_owned),
        });
    }
    match record {
        Ok(record) => Ok(Some(record)),
        Err(RecordError::Foreign) => Ok(None),
        Err(source) => Err(Error::Record { sequence, source }),
    }
}

async fn load(stream: &Stream<()>, name: &Name, sequence: u64) -> Result<Option<Record>, Failure> {
    match stream.get_raw_message(sequence).await {
        Ok(found) => {
            let len = found.payload.len();
            Ok(record(
                name,
                sequence,
                &found.subject,
                Some(&found.headers),
                len,
            )?)
        }
        Err(error) if matches!(error.kind(), RawMessageErrorKind::NoMessageFound) => Ok(None),
        Err(error) => Err(Failure::again(error)),
    }
}

/// Finds the log's end, given the stream's state. `None` if the log has no record.
pub(crate) async fn find_end(
    stream: &Stream<()>,
    name: &Name,
    info: &Info,
) -> Result<Option<LogEnd>, Failure> {
    let (first, last) = (info.state.first_sequence, info.state.last_sequence);
    if info.state.messages == 0 {
        return Ok(None);
    }
    let claim = match stream.get_last_raw_message_by_subject(&name.claims()).await {
        Ok(found) => {
            let (len, headers) = (found.payload.len(), Some(&found.headers));
            let claim = record(name, found.sequence, &found.subject, headers, len)?;
            claim.map(|claim| (found.sequence, claim))
        }
        Err(error) if matches!(error.kind(), LastRawMessageErrorKind::NoMessageFound) => None,
        Err(error) => return Err(Failure::again(error)),
    };
    let mut anchor = claim;
    let mut sequence = first;
    while anchor.is_none() && sequence <= last {
        let record = load(stream, name, sequence).await?;
        let possible = record.filter(|record| log::is_possible(sequence, record));
        anchor = possible.map(|record| (sequence, record));
        sequence += 1;
    }
    let Some((from, anchor)) = anchor else {
        return Ok(None);
    };
    if from > last {
        return Err(Failure::again("another sender is claiming the stream"));
    }
    let search = Search::new(from, &anchor);
    for sequence in (from + 1..=last).rev() {
        let Some(record) = load(stream, name, sequence).await? else {
            continue;
        };
        if let Some(end) = search.look(sequence, &record)? {
            return Ok(Some(end));
        }
    }
    Ok(search.look(from, &anchor)?)
}
