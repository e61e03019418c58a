//! Peers in other PID and IPC namespaces.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use shmpipe::{Broken, OpenError, Role};

use super::{idle, options, unshare};
use crate::common::{End, Fork, PATIENCE, TempPath, alone, is_waited_for, until};

#[test]
fn a_peer_in_another_pid_namespace_streams_and_its_death_is_noticed() {
    alone(
        "liveness::namespaces::a_peer_in_another_pid_namespace_streams_and_its_death_is_noticed",
        || {
            if !unshare(libc::CLONE_NEWPID) {
                return;
            }
            let path = TempPath::new();
            // The first child is process 1 of the new namespace.
            let child = Fork::new(|| {
                assert_eq!(std::process::id(), 1);
                let mut producer = options().open_producer(&path).unwrap();
                producer.write_all(&[7; 100_000]).unwrap();
                // The reader lives, though its number means nothing here.
                let start = Instant::now();
                while start.elapsed() < Duration::from_millis(100) {
                    producer.check_peer().unwrap();
                }
                idle(producer);
            });
            let mut consumer = options().open_consumer(&path).unwrap();
            let mut bytes = vec![0; 100_000];
            consumer.read_exact(&mut bytes).unwrap();
            assert_eq!(bytes, [7; 100_000]);
            consumer.read_exact(&mut [0]).unwrap();
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(100) {
                consumer.check_peer().unwrap();
            }
            child.kill();
            let error = consumer.read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            let broken = error.get_ref().unwrap().downcast_ref::<Broken>();
            let died = Broken::Died {
                role: Role::Producer,
                pid: 1,
            };
            assert_eq!(broken, Some(&died), "by its number in its own namespace");
        },
    );
}

#[test]
fn another_ipc_namespace_is_named_as_the_cause() {
    alone(
        "liveness::namespaces::another_ipc_namespace_is_named_as_the_cause",
        || {
            let path = TempPath::new();
            let waiting = Fork::new(|| {
                let _ = options().open_producer(&path);
            });
            until(|| is_waited_for(&path));
            let mut other = Fork::new(|| {
                if !unshare(libc::CLONE_NEWIPC) {
                    return;
                }
                let start = Instant::now();
                let error = options().open_consumer(&path).unwrap_err();
                assert!(matches!(error, OpenError::OtherNamespace { .. }), "{error}");
                assert!(error.to_string().contains("IPC namespace"));
                // The cause ends the wait, not the time limit.
                assert!(start.elapsed() < PATIENCE / 2, "that is a hang");
            });
            assert_eq!(other.wait(), End::Exit(0));
            drop(waiting);
        },
    );
}
