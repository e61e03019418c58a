//! Bad input, and brokers that refuse: an error that names it, and nothing lost.

use async_nats::jetstream::stream::{Config, DiscardPolicy};

use crate::relay::Relay;
use crate::rings::{How, Ring, bytes, read_ends};
use crate::server::Server;
use crate::{PATIENCE, not_run, until};

use std::time::Instant;

#[test]
fn a_name_that_is_no_token_is_refused() {
    let ring = Ring::new();
    for name in ["a.b", "*", "", "a b"] {
        let mut relay = Relay::send(&ring.path(), name, "nats://127.0.0.1:1", &[]);
        relay.fails(2, "cannot name a stream");
        let mut relay = Relay::recv(&ring.path(), name, "nats://127.0.0.1:1", &[]);
        relay.fails(2, "cannot name a stream");
    }
}

#[test]
fn a_ring_that_does_not_persist_is_refused() {
    let folder = crate::Folder::new();
    let path = folder.path().join("named");
    std::fs::write(&path, "").unwrap();
    let mut options = shmpipe::Options::new();
    let _producer = options.wait_for_peer(false).open_producer(&path).unwrap();
    let mut sender = Relay::send(&path, "named", "nats://127.0.0.1:1", &[]);
    sender.fails(1, "the ring cannot be opened");
    assert!(sender.said().contains("persist"), "{}", sender.said());
    // A receiver opens its ring once it has a connection.
    let server = Server::new();
    let mut receiver = Relay::recv(&path, "named", &server.url(), &[]);
    receiver.fails(1, "the ring cannot be opened");
    assert!(receiver.said().contains("persist"), "{}", receiver.said());
}

#[test]
fn an_address_that_is_none_and_a_broker_that_is_away_are_named() {
    let ring = Ring::new();
    let mut sender = Relay::send(&ring.path(), "x", "nats://:x", &[]);
    sender.fails(1, "no connection to the broker");
    let url = format!("nats://127.0.0.1:{}", crate::server::free_port());
    let mut sender = Relay::send(&ring.path(), "x", &url, &["--patience", "0"]);
    sender.fails(1, "no connection to the broker");
}

#[test]
fn a_broker_without_jetstream_is_named() {
    let ring = Ring::new();
    let server = Server::prepared("");
    for verb in ["send", "recv"] {
        let path = ring.path();
        let path = path.to_str().unwrap();
        let mut relay = Relay::start(&[
            verb,
            path,
            &server.url(),
            "--stream",
            "x",
            "--patience",
            "0",
        ]);
        relay.fails(1, "the broker has no JetStream");
    }
}

#[test]
fn an_account_without_jetstream_is_named() {
    let ring = Ring::new();
    let server = Server::with(
        "accounts {
            A { jetstream: enabled, users: [{ user: a, password: secret }] }
            B { users: [{ user: b, password: secret }] }
        }",
    );
    for verb in ["send", "recv"] {
        let mut relay = as_user(verb, &ring, &server, "b", "secret", &["--patience", "0"]);
        relay.fails(1, "the broker has no JetStream");
    }
}

#[test]
fn a_server_whose_messages_are_too_short_is_named() {
    let ring = Ring::new();
    let server = Server::with("max_payload: 2000");
    let mut sender = Relay::send(&ring.path(), "short", &server.url(), &[]);
    sender.fails(1, "its max_payload is 2000");
}

#[test]
fn a_log_of_few_bytes_carries_a_ring_and_one_of_fewer_is_named() {
    let (source, destination) = (Ring::new(), Ring::new());
    let server = Server::new();
    let mut sender = Relay::send(
        &source.path(),
        "tiny",
        &server.url(),
        &["--max-bytes", "65535"],
    );
    sender.fails(1, "its max_bytes is 65535, not 65536 or more");
    let mut sender = Relay::send(
        &source.path(),
        "tiny",
        &server.url(),
        &["--max-bytes", "65536"],
    );
    let mut receiver = Relay::recv(&destination.path(), "tiny", &server.url(), &[]);
    let reader = std::thread::spawn(move || read_ends(&mut destination.consumer(), 0, 1));
    let mut producer = source.producer();
    producer
        .write_all_deadline(&bytes(0, 300_000), Instant::now() + PATIENCE)
        .unwrap();
    producer.close().unwrap();
    assert_eq!(reader.join().unwrap(), [(300_000, How::Finished)]);
    sender.assert_runs();
    receiver.assert_runs();
}

#[test]
fn a_stream_with_other_limits_is_named_and_left_alone() {
    let ring = Ring::new();
    let server = Server::new();
    server.client(async |client| {
        let context = async_nats::jetstream::new(client);
        let mut config = Config {
            name: "old".to_owned(),
            subjects: vec!["shmpipe.old".to_owned(), "shmpipe.old.claim".to_owned()],
            discard: DiscardPolicy::Old,
            max_bytes: 1 << 20,
            ..Config::default()
        };
        context.create_stream(config.clone()).await.unwrap();
        config.name = "other".to_owned();
        config.subjects = vec!["orders.>".to_owned()];
        config.discard = DiscardPolicy::New;
        context.create_stream(config.clone()).await.unwrap();
        config.name = "kept".to_owned();
        config.subjects = vec!["shmpipe.kept".to_owned(), "shmpipe.kept.claim".to_owned()];
        config.deny_purge = true;
        context.create_stream(config.clone()).await.unwrap();
        config.name = "short".to_owned();
        config.subjects = vec!["shmpipe.short".to_owned(), "shmpipe.short.claim".to_owned()];
        config.deny_purge = false;
        config.max_message_size = 1000;
        context.create_stream(config).await.unwrap();
    });
    for (name, setting) in [
        ("old", "its discard is Old, not New"),
        ("other", "its subjects is"),
        ("kept", "its deny_purge is on, not off"),
        ("short", "its max_msg_size is 1000, not 2048 or more"),
    ] {
        let mut sender = Relay::send(&ring.path(), name, &server.url(), &[]);
        sender.fails(1, setting);
        let mut receiver = Relay::recv(&ring.path(), name, &server.url(), &[]);
        receiver.fails(1, setting);
    }
}

/// Settings that servers have since 2.10. An earlier one ignores them.
#[test]
fn a_stream_with_settings_of_later_servers_is_named_and_left_alone() {
    let ring = Ring::new();
    let server = Server::new();
    let is_later = crate::server::version() >= [2, 10, 0];
    for (name, setting, value, said) in [
        (
            "moved",
            "subject_transform",
            r#"{"src": "shmpipe.moved", "dest": "elsewhere"}"#,
            "its subject_transform is",
        ),
        (
            "hasty",
            "consumer_limits",
            r#"{"inactive_threshold": 1000000000}"#,
            "its consumer_limits.inactive_threshold is 1000000000, not 30000000000 or more",
        ),
    ] {
        let config = format!(
            r#"{{"name": "{name}", "subjects": ["shmpipe.{name}", "shmpipe.{name}.claim"],
            "retention": "limits", "discard": "new", "storage": "file", "num_replicas": 1,
            "max_bytes": 1000000, "max_msgs": -1, "max_msgs_per_subject": -1, "max_consumers": -1,
            "{setting}": {value}}}"#
        );
        let made = server.client(async |client| {
            let subject = format!("$JS.API.STREAM.CREATE.{name}");
            client.request(subject, config.into()).await.unwrap()
        });
        let made: serde_json::Value = serde_json::from_slice(&made.payload).unwrap();
        assert!(made["error"].is_null(), "{made}");
        let has_it = !made["config"][setting].is_null();
        assert_eq!(has_it, is_later, "{made}");
        if is_later {
            Relay::send(&ring.path(), name, &server.url(), &[]).fails(1, said);
            Relay::recv(&ring.path(), name, &server.url(), &[]).fails(1, said);
        }
    }
}

#[test]
fn a_stream_that_is_missing_is_created_or_named() {
    let ring = Ring::new();
    let server = Server::new();
    let mut sender = Relay::send(&ring.path(), "gone", &server.url(), &["--no-create"]);
    sender.fails(1, "there is no stream gone");
    let mut receiver = Relay::recv(&ring.path(), "gone", &server.url(), &["--patience", "0"]);
    receiver.fails(1, "there is no stream gone");
}

#[test]
fn a_file_of_another_stream_beside_the_ring_is_named() {
    let (source, destination) = (Ring::new(), Ring::new());
    let server = Server::new();
    let _sender = Relay::send(&source.path(), "first", &server.url(), &[]);
    let mut receiver = Relay::recv(&destination.path(), "first", &server.url(), &[]);
    source.producer().close().unwrap();
    assert_eq!(
        read_ends(&mut destination.consumer(), 0, 1),
        [(0, How::Finished)]
    );
    receiver.kill();
    let mut receiver = Relay::recv(&destination.path(), "second", &server.url(), &[]);
    receiver.fails(1, "the ring belongs to stream first");
}

/// What each relay needs, and no more. `TRIM` is the request that this server's logs are
/// trimmed with: up to 2.12.2, a server that is killed during a purge can lose the log.
const PERMISSIONS: &str = r#"
    accounts {
        A {
            jetstream: enabled
            users: [
                { user: admin, password: admin }
                { user: sender, password: secret, permissions: {
                    publish: [
                        "shmpipe.small", "shmpipe.small.claim",
                        "$JS.API.STREAM.INFO.small", "$JS.API.STREAM.MSG.GET.small"
                    ]
                    subscribe: "_INBOX.>"
                } }
                { user: receiver, password: secret, permissions: {
                    publish: [
                        "$JS.API.STREAM.INFO.small", "$JS.API.STREAM.TRIM.small",
                        "$JS.API.CONSUMER.CREATE.small",
                        "$JS.API.CONSUMER.MSG.NEXT.small.*"
                    ]
                    subscribe: "_INBOX.>"
                } }
                { user: nobody, password: secret, permissions: {
                    publish: "nothing", subscribe: "_INBOX.>"
                } }
            ]
        }
    }
"#;

fn permissions() -> String {
    let trim = if crate::server::version() >= [2, 12, 3] {
        "PURGE"
    } else {
        "MSG.DELETE"
    };
    PERMISSIONS.replace("TRIM", trim)
}

fn as_user(
    verb: &str,
    ring: &Ring,
    server: &Server,
    user: &str,
    password: &str,
    more: &[&str],
) -> Relay {
    let (path, url) = (ring.path(), server.url());
    let args = [
        verb,
        path.to_str().unwrap(),
        &url,
        "--stream",
        "small",
        "--user",
        user,
    ];
    Relay::with(&[&args, more].concat(), &[("NATS_PASSWORD", password)])
}

#[test]
fn minimal_permissions_are_enough_and_less_is_named() {
    let (source, destination) = (Ring::new(), Ring::new());
    let server = Server::with(&permissions());
    // An administrator makes the stream.
    let mut admin = as_user("send", &source, &server, "admin", "admin", &["--ends", "1"]);
    source.producer().close().unwrap();
    assert!(admin.wait().success(), "{}", admin.said());
    let mut sender = as_user(
        "send",
        &source,
        &server,
        "sender",
        "secret",
        &["--no-create"],
    );
    let mut receiver = as_user("recv", &destination, &server, "receiver", "secret", &[]);
    let mut producer = source.producer();
    producer
        .write_all_deadline(&bytes(0, 100_000), Instant::now() + PATIENCE)
        .unwrap();
    producer.close().unwrap();
    let ends = read_ends(&mut destination.consumer(), 0, 2);
    assert_eq!(ends, [(0, How::Finished), (100_000, How::Finished)]);
    // Trimming is one of the receiver's permissions.
    until("the log is trimmed", || {
        server.client_as("admin", "admin", async |client| {
            let context = async_nats::jetstream::new(client);
            let mut stream = context.get_stream("small").await.unwrap();
            stream.info().await.unwrap().state.messages < 4
        })
    });
    sender.assert_runs();
    receiver.assert_runs();
    sender.kill();
    let mut nobody = as_user("send", &source, &server, "nobody", "secret", &[]);
    nobody.fails(1, "the broker forbids this");
    receiver.kill();
    let mut nobody = as_user("recv", &destination, &server, "nobody", "secret", &[]);
    nobody.fails(1, "the broker forbids this");
    // Who may read may not send.
    let mut reader = as_user("send", &source, &server, "receiver", "secret", &[]);
    reader.fails(1, "the broker forbids this");
}

#[test]
fn wrong_credentials_are_named() {
    let ring = Ring::new();
    let server = Server::with(&permissions());
    for (user, password) in [("sender", "wrong"), ("unknown", "secret")] {
        for verb in ["send", "recv"] {
            as_user(verb, &ring, &server, user, password, &[]).fails(1, "authorization violation");
        }
    }
    let missing = ["--creds", "/nowhere/x.creds"];
    let mut sender = Relay::send(&ring.path(), "small", &server.url(), &missing);
    sender.fails(1, "/nowhere/x.creds");
    let mut sender = Relay::send(
        &ring.path(),
        "small",
        &server.url(),
        &["--tls", "--patience", "0"],
    );
    sender.fails(1, "no connection to the broker");
}

#[test]
fn an_nkey_is_passed_through() {
    let key = nkeys::KeyPair::new_user();
    let settings = format!(
        "authorization {{ users: [{{ nkey: {} }}] }}",
        key.public_key()
    );
    let server = Server::with(&settings);
    let ring = Ring::new();
    let folder = crate::Folder::new();
    let (seed, other) = (folder.path().join("seed"), folder.path().join("other"));
    std::fs::write(&seed, key.seed().unwrap() + "\n").unwrap();
    std::fs::write(&other, nkeys::KeyPair::new_user().seed().unwrap()).unwrap();
    source_ends(&ring);
    let key = ["--nkey", other.to_str().unwrap()];
    Relay::send(&ring.path(), "key", &server.url(), &key).fails(1, "authorization violation");
    let key = ["--ends", "1", "--nkey", seed.to_str().unwrap()];
    let mut sender = Relay::send(&ring.path(), "key", &server.url(), &key);
    assert!(sender.wait().success(), "{}", sender.said());
}

fn source_ends(ring: &Ring) {
    ring.producer().close().unwrap();
}

#[test]
fn tls_is_passed_through_and_an_unknown_certificate_refused() {
    let folder = crate::Folder::new();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("ext"), "subjectAltName=IP:127.0.0.1").unwrap();
    let openssl = |args: &str| {
        let output = std::process::Command::new("openssl")
            .args(args.split_whitespace())
            .current_dir(folder.path())
            .output();
        output.is_ok_and(|output| output.status.success())
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    let made = openssl(&format!(
        "req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=ca -days 2"
    )) && openssl(&format!(
        "req {key} -keyout key.pem -out csr.pem -subj /CN=broker"
    )) && openssl(
        "x509 -req -in csr.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out cert.pem",
    );
    if !made {
        return not_run("TLS", "there is no openssl to make a certificate");
    }
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    let server = Server::with(&format!("tls {{ cert_file: {cert:?}, key_file: {key:?} }}"));
    let ring = Ring::new();
    source_ends(&ring);
    let url = server.url().replace("nats:", "tls:");
    let mut stranger = Relay::send(&ring.path(), "tls", &url, &["--tls", "--patience", "0"]);
    stranger.fails(1, "no connection to the broker");
    let ca = path("ca.pem");
    let more = ["--tls", "--ca", ca.to_str().unwrap(), "--ends", "1"];
    let mut sender = Relay::send(&ring.path(), "tls", &url, &more);
    assert!(sender.wait().success(), "{}", sender.said());
}
