//! A broker in a network namespace, and the cable between pulled.

use std::process::Command;
use std::time::Duration;

use crate::relay::Relay;
use crate::rings::{Reader, Ring, Writer};
use crate::server::Server;
use crate::{not_run, until};

fn ip(args: &str) -> bool {
    let output = Command::new("ip").args(args.split_whitespace()).output();
    output.is_ok_and(|output| output.status.success())
}

/// A namespace with a veth pair: 10.x.y.1 here, 10.x.y.2 there.
struct Namespace {
    name: String,
    near: String,
    address: String,
}

impl Namespace {
    /// `None` where this process may not make one.
    fn new() -> Option<Namespace> {
        let pid = std::process::id();
        let net = format!("10.{}.{}", 180 + pid / 254 % 60, 1 + pid % 254);
        let (name, near, far) = (
            format!("shmpipe-{pid}"),
            format!("sn{pid}"),
            format!("sf{pid}"),
        );
        if !ip(&format!("netns add {name}")) {
            return None;
        }
        let namespace = Namespace {
            address: format!("{net}.2"),
            near: near.clone(),
            name: name.clone(),
        };
        let made = ip(&format!(
            "link add {near} type veth peer name {far} netns {name}"
        )) && ip(&format!("addr add {net}.1/24 dev {near}"))
            && ip(&format!("link set {near} up"))
            && ip(&format!("-n {name} addr add {net}.2/24 dev {far}"))
            && ip(&format!("-n {name} link set {far} up"))
            && ip(&format!("-n {name} link set lo up"));
        made.then_some(namespace)
    }

    fn cable(&self, state: &str) {
        assert!(ip(&format!("link set {} {state}", self.near)));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        ip(&format!("link del {}", self.near));
        ip(&format!("netns del {}", self.name));
    }
}

#[test]
fn a_cable_that_is_pulled_loses_nothing() {
    let Some(namespace) = Namespace::new() else {
        let why = "a network namespace needs root, and the program ip";
        return not_run("a cable that is pulled", why);
    };
    let server = Server::in_namespace(&namespace.name, &namespace.address);
    let url = server.url();
    let (source, destination) = (Ring::new(), Ring::new());
    let mut sender = Relay::send(&source.path(), "cable", &url, &[]);
    let mut receiver = Relay::recv(&destination.path(), "cable", &url, &[]);
    let writer = Writer::start(&source, 0, 31, 1 << 18);
    let reader = Reader::start(&destination, 0, &writer.ends);
    for seconds in [0.1, 2.0, 12.0] {
        let before = reader.position();
        until("bytes pass", || {
            sender.assert_runs();
            receiver.assert_runs();
            reader.position() > before + 200_000 || reader.fails()
        });
        namespace.cable("down");
        std::thread::sleep(Duration::from_secs_f64(seconds));
        namespace.cable("up");
    }
    let last = writer.stop();
    reader.finish(last);
}
