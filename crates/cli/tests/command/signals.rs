//! Signals in all states of a pair.

use std::os::unix::process::ExitStatusExt;
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

use crate::common::TempPath;
use crate::running::{
    PEER_DIED, RECEIVER_LEFT, Running, SENDER_BROKE_OFF, collect, is_gone, until_stuck,
};

/// Each signal that ends a process, in each state of a pair: nothing stays, and the peer fails.
#[test]
fn no_signal_leaves_a_ring_or_a_stream_that_looks_whole() {
    let all = [
        Signal::HUP,
        Signal::INT,
        Signal::QUIT,
        Signal::TERM,
        Signal::USR1,
        Signal::ALARM,
        Signal::PIPE,
        Signal::ABORT,
        Signal::KILL,
    ];
    // Some of them would leave a core file.
    let limits = getrlimit(Resource::Core);
    let none = Rlimit {
        current: Some(0),
        ..limits
    };
    setrlimit(Resource::Core, none).unwrap();
    for signal in all {
        for (at_sender, is_busy) in [(true, false), (true, true), (false, false), (false, true)] {
            let path = TempPath::new();
            let receiver = Running::unread(["recv".as_ref(), path.as_os_str()]);
            let mut sender = Running::verb("send", &path, &["--capacity", "4KiB"]);
            let ring = sender.paired();
            if is_busy {
                sender.feed_all(vec![7; 4 << 20]);
                until_stuck(ring, &sender, &receiver);
            }
            let it = if at_sender { &sender } else { &receiver };
            it.signal(signal);
            let (mut it, mut peer) = match at_sender {
                true => (sender, receiver),
                false => (receiver, sender),
            };
            let ignored = signal == Signal::PIPE; // as by each program of std
            if ignored {
                thread::sleep(Duration::from_millis(300));
                assert!(it.child.try_wait().unwrap().is_none());
                continue;
            }
            peer.stdout = peer.child.stdout.take().map(collect);
            it.stdout = it.child.stdout.take().map(collect);
            assert_eq!(it.end().status.signal(), Some(signal.as_raw()));
            let code = peer.end().status.code();
            let told = [Signal::HUP, Signal::INT, Signal::TERM].contains(&signal);
            let expected = match (told, at_sender) {
                (true, true) => SENDER_BROKE_OFF,
                (true, false) => RECEIVER_LEFT,
                (false, _) => PEER_DIED,
            };
            assert_eq!(code, expected, "{signal:?} {at_sender} {is_busy}");
            is_gone(ring, &path);
        }
    }
}
