//! The name of a stream, and its settings: those with which a ring needs it, and those that would not do.

use std::fmt;
use std::time::Duration;

use async_nats::jetstream::stream::{
    Config, DiscardPolicy, PersistenceMode, RetentionPolicy, StorageType,
};
use serde_json::Value;

use crate::error::Error;

/// What a message adds to the broker's store beside its payload, at most.
const OVERHEAD: usize = 1024;
/// The least limit of a message's size: the headers, and some bytes.
const LEAST_MESSAGE: usize = 2 * OVERHEAD;
/// The least size of a log.
const LEAST_LOG: usize = 64 << 10;
/// A log has room for this many records. The last one that was applied stays in the log, so
/// two would not do.
const RECORDS_IN_LOG: usize = 8;
/// The broker forgets a receiver's consumer after this time without a request.
pub(crate) const FORGET: Duration = Duration::from_secs(30);

/// The name of a stream, which is part of its subjects.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name(String);

impl Name {
    /// Checks a name: 1 to 64 letters, digits, `-` and `_`.
    ///
    /// # Errors
    ///
    /// [`Error::Name`].
    pub fn new(name: impl Into<String>) -> Result<Name, Error> {
        let name = name.into();
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if (1..=64).contains(&name.len()) && name.bytes().all(fits) {
            Ok(Name(name))
        } else {
            Err(Error::Name { name })
        }
    }

    /// The subject of data and ends.
    #[must_use]
    pub fn subject(&self) -> String {
        format!("shmpipe.{}", self.0)
    }

    /// The subject of claims.
    #[must_use]
    pub fn claims(&self) -> String {
        format!("shmpipe.{}.claim", self.0)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a sender creates the stream, if it is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Create {
    /// The most bytes that the broker keeps: the buffer between the rings.
    pub max_bytes: u64,
    /// How many servers keep them.
    pub replicas: usize,
}

impl Default for Create {
    /// 1 GiB, on one server.
    fn default() -> Create {
        Create {
            max_bytes: 1 << 30,
            replicas: 1,
        }
    }
}

/// The settings of a stream that carries a ring.
pub(crate) fn config(name: &Name, create: Create) -> Config {
    Config {
        name: name.to_string(),
        subjects: vec![name.subject(), name.claims()],
        description: Some("a ring of shmpipe".to_owned()),
        max_bytes: i64::try_from(create.max_bytes).unwrap_or(i64::MAX),
        max_messages: -1,
        max_messages_per_subject: -1,
        max_consumers: -1,
        discard: DiscardPolicy::New,
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        num_replicas: create.replicas,
        ..Config::default()
    }
}

/// Checks that a stream has the settings that a ring needs.
pub(crate) fn check(name: &Name, found: &Config) -> Result<(), Error> {
    let unsuitable = |setting, found, wanted| Error::Unsuitable {
        stream: name.to_string(),
        setting,
        found,
        wanted,
    };
    for (setting, found, wanted) in settings(name, found) {
        if found != wanted {
            return Err(unsuitable(setting, found, wanted));
        }
    }
    let least = [
        (
            "max_msg_size",
            i64::from(found.max_message_size),
            LEAST_MESSAGE,
        ),
        ("max_bytes", found.max_bytes, LEAST_LOG),
    ];
    for (setting, found, least) in least {
        if limit(found).is_some_and(|limit| limit < least) {
            let wanted = format!("{least} or more");
            return Err(unsuitable(setting, found.to_string(), wanted));
        }
    }
    Ok(())
}

/// The settings that must have one certain value: their names, what was found, and what is needed.
fn settings(name: &Name, found: &Config) -> [(&'static str, String, String); 14] {
    let wanted = config(name, Create::default());
    let mut subjects = found.subjects.clone();
    subjects.sort();
    let has_sources = found.sources.as_ref().is_some_and(|all| !all.is_empty());
    let persist_mode = found.persist_mode.unwrap_or_default();
    let of = |setting, found: &dyn fmt::Debug, wanted: &dyn fmt::Debug| {
        (setting, format!("{found:?}"), format!("{wanted:?}"))
    };
    let no_limit = |setting, limit: i64| {
        let found = if limit > 0 { limit } else { -1 };
        (setting, found.to_string(), "-1".to_owned())
    };
    let off = |setting, is_on: bool| {
        let found = if is_on { "on" } else { "off" };
        (setting, found.to_owned(), "off".to_owned())
    };
    [
        of("subjects", &subjects, &wanted.subjects),
        of("retention", &found.retention, &wanted.retention),
        of("discard", &found.discard, &wanted.discard),
        of("storage", &found.storage, &wanted.storage),
        no_limit("max_msgs", found.max_messages),
        no_limit("max_msgs_per_subject", found.max_messages_per_subject),
        of("max_age", &found.max_age, &Duration::ZERO),
        off("sealed", found.sealed),
        off("no_ack", found.no_ack),
        // A receiver trims the log.
        off("deny_purge", found.deny_purge),
        off("deny_delete", found.deny_delete),
        // The other mode acknowledges what is not stored.
        of("persist_mode", &persist_mode, &PersistenceMode::Default),
        off("mirror", found.mirror.is_some()),
        off("sources", has_sources),
    ]
}

/// A limit of the broker. `None` if the broker has 0 or less, which is no limit.
fn limit(limit: i64) -> Option<usize> {
    usize::try_from(limit).ok().filter(|&limit| limit > 0)
}

/// The most bytes that one record may have as payload, in a stream with these settings, at
/// a server with this limit of a message.
///
/// # Errors
///
/// [`Error::Refused`] if the server's limit has no room for a record.
pub(crate) fn most_payload(config: &Config, max_payload: usize) -> Result<usize, Error> {
    if max_payload < LEAST_MESSAGE {
        return Err(Error::Refused(format!(
            "its max_payload is {max_payload}, and a record needs {LEAST_MESSAGE} bytes"
        )));
    }
    let in_message = limit(config.max_message_size.into()).unwrap_or(max_payload);
    let in_log = limit(config.max_bytes).map_or(usize::MAX, |bytes| bytes / RECORDS_IN_LOG);
    Ok(in_message.min(max_payload).min(in_log) - OVERHEAD)
}

/// Checks settings of later servers, which [`Config`] does not have here, in the JSON of a stream's
/// settings.
pub(crate) fn check_newer(name: &Name, found: &Value) -> Result<(), Error> {
    let unsuitable = |setting, found: &Value, wanted: &str| Error::Unsuitable {
        stream: name.to_string(),
        setting,
        found: found.to_string(),
        wanted: wanted.to_owned(),
    };
    let transform = &found["subject_transform"];
    if !transform.is_null() {
        return Err(unsuitable("subject_transform", transform, "off"));
    }
    let threshold = &found["consumer_limits"]["inactive_threshold"];
    let forget = FORGET.as_nanos();
    if threshold
        .as_u64()
        .is_some_and(|most| most > 0 && u128::from(most) < forget)
    {
        let wanted = format!("{forget} or more");
        return Err(unsuitable(
            "consumer_limits.inactive_threshold",
            threshold,
            &wanted,
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_token() {
        for name in ["a", "orders-2_B", &"x".repeat(64)] {
            assert!(Name::new(name).is_ok(), "{name}");
        }
        for name in [
            "",
            "a.b",
            "*",
            ">",
            "a b",
            "ä",
            "a/b",
            "a\\b",
            "\n",
            &"x".repeat(65),
        ] {
            assert!(matches!(Name::new(name), Err(Error::Name { .. })), "{name}");
        }
    }

    #[test]
    fn another_setting_is_named() {
        let name = Name::new("x").unwrap();
        let ours = config(&name, Create::default());
        assert!(check(&name, &ours).is_ok());
        let with = |change: fn(&mut Config)| {
            let mut config = ours.clone();
            change(&mut config);
            match check(&name, &config) {
                Err(Error::Unsuitable { setting, .. }) => setting,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(
            with(|config| config.subjects = vec!["y".into()]),
            "subjects"
        );
        assert_eq!(
            with(|config| config.retention = RetentionPolicy::WorkQueue),
            "retention"
        );
        assert_eq!(
            with(|config| config.discard = DiscardPolicy::Old),
            "discard"
        );
        assert_eq!(
            with(|config| config.storage = StorageType::Memory),
            "storage"
        );
        assert_eq!(with(|config| config.max_messages = 5), "max_msgs");
        assert_eq!(
            with(|config| config.max_messages_per_subject = 5),
            "max_msgs_per_subject"
        );
        assert_eq!(
            with(|config| config.max_age = Duration::from_secs(1)),
            "max_age"
        );
        assert_eq!(with(|config| config.sealed = true), "sealed");
        assert_eq!(with(|config| config.no_ack = true), "no_ack");
        assert_eq!(with(|config| config.deny_purge = true), "deny_purge");
        assert_eq!(with(|config| config.deny_delete = true), "deny_delete");
        let is_async = |config: &mut Config| config.persist_mode = Some(PersistenceMode::Async);
        assert_eq!(with(is_async), "persist_mode");
        assert_eq!(
            with(|config| config.max_message_size = 2047),
            "max_msg_size"
        );
        assert_eq!(with(|config| config.max_bytes = 65535), "max_bytes");
    }

    #[test]
    fn a_record_fits_each_limit_several_times_into_the_log() {
        let name = Name::new("x").unwrap();
        let most = |max_message_size, max_bytes, max_payload| {
            let config = Config {
                max_message_size,
                max_bytes,
                ..config(&name, Create::default())
            };
            check(&name, &config).unwrap();
            most_payload(&config, max_payload)
        };
        assert_eq!(most(-1, -1, 1 << 20).unwrap(), (1 << 20) - OVERHEAD);
        assert_eq!(most(2048, -1, 1 << 20).unwrap(), 1024);
        assert_eq!(most(-1, 65536, 1 << 20).unwrap(), 8192 - OVERHEAD);
        assert_eq!(most(-1, -1, 2048).unwrap(), 1024);
        let refused = most(-1, -1, 2047).unwrap_err().to_string();
        assert!(refused.contains("max_payload is 2047"), "{refused}");
    }

    #[test]
    fn a_setting_of_a_later_server_is_named() {
        let name = Name::new("x").unwrap();
        let check = |config: &str| check_newer(&name, &serde_json::from_str(config).unwrap());
        for suitable in [
            "{}",
            r#"{"subject_transform": null, "consumer_limits": {}}"#,
            r#"{"consumer_limits": {"inactive_threshold": 0}}"#,
            r#"{"consumer_limits": {"inactive_threshold": 30000000000}}"#,
        ] {
            assert!(check(suitable).is_ok(), "{suitable}");
        }
        for (unsuitable, named) in [
            (
                r#"{"subject_transform": {"src": "a", "dest": "b"}}"#,
                "its subject_transform is",
            ),
            (
                r#"{"consumer_limits": {"inactive_threshold": 29999999999}}"#,
                "its consumer_limits.inactive_threshold is 29999999999, not 30000000000 or more",
            ),
        ] {
            let error = check(unsuitable).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
