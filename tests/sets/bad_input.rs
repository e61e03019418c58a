//! Handles and sets that cannot be used: each is a typed error, and nothing is lost.

use std::panic::{AssertUnwindSafe, catch_unwind};

use shmpipe::{Broken, TryReadError, WaitError, WaitSet};

use crate::common::{End, Fork, alone, broken, filter, until};
use crate::{is_readable_within, pair, until_readable};

#[test]
fn a_closed_member_is_returned_and_says_so() {
    let (producer, mut consumer) = pair();
    consumer.close().unwrap();
    let mut set = WaitSet::from(consumer);
    assert_eq!(set.wait(), Ok(Some(0)));
    let read = set[0].try_read(&mut [0]);
    assert_eq!(read, Err(TryReadError::Broken(Broken::Closed)));
    assert!(set.remove(0).is_some());
    drop(producer);
}

#[test]
fn a_key_of_no_handle_is_refused() {
    let (_producer, consumer) = pair();
    let mut set = WaitSet::from(consumer);
    assert!(set.get(7).is_none() && set.get_mut(7).is_none() && set.remove(7).is_none());
    for panics in [
        catch_unwind(AssertUnwindSafe(|| assert_eq!(set[7].position(), 0))),
        catch_unwind(AssertUnwindSafe(|| drop(set[7].available()))),
        catch_unwind(AssertUnwindSafe(|| set.set_low_water_mark(7, 1))),
    ] {
        let message = panics.unwrap_err();
        let message = message.downcast_ref::<String>().unwrap();
        assert_eq!(message, "no handle of the set has the key 7");
    }
    assert_eq!(set.len(), 1);
}

/// A forked child has a copy of a set, and of handles. It can use neither, and disturbs nothing.
#[test]
fn an_inherited_set_is_inert() {
    alone("bad_input::an_inherited_set_is_inert", || {
        let (mut producer, consumer) = pair();
        let (mut other, other_consumer) = pair();
        let mut set = Some(WaitSet::from(consumer));
        let mut single = Some(other_consumer);
        let descriptor = set.as_mut().unwrap().poll_fd().unwrap();
        assert_eq!(set.as_mut().unwrap().try_wait(), Ok(None));
        let mut child = Fork::new(|| {
            let mut set = set.take().unwrap();
            let inherited = WaitError::Broken(Broken::Inherited);
            assert_eq!(set.wait(), Err(inherited.clone()));
            assert_eq!(set.try_wait(), Err(inherited.clone()));
            assert_eq!(broken(&set.poll_fd().unwrap_err()), Broken::Inherited);
            let read = set[0].try_read(&mut [0]);
            assert_eq!(read, Err(TryReadError::Broken(Broken::Inherited)));
            set.set_low_water_mark(0, 9);
            drop(set.remove(0));
            drop(set);
            // An inherited handle in a set of the child's own.
            let mut own = WaitSet::from(single.take().unwrap());
            let (mut producer, consumer) = pair();
            own.insert(consumer);
            let descriptor = own.poll_fd().unwrap();
            assert_eq!(own.wait(), Ok(Some(0)));
            let read = own[0].try_read(&mut [0]);
            assert_eq!(read, Err(TryReadError::Broken(Broken::Inherited)));
            drop(own.remove(0));
            assert_eq!(own.try_wait(), Ok(None));
            producer.try_write(b"x").unwrap();
            until_readable(&descriptor);
            assert_eq!(own.wait(), Ok(Some(1)));
        });
        assert_eq!(child.wait(), End::Exit(0));
        let set = set.as_mut().unwrap();
        // The child wrote nothing to the descriptor, read nothing from it, and woke nobody.
        assert!(!is_readable_within(&descriptor, 0));
        producer.try_write(b"x").unwrap();
        until_readable(&descriptor);
        assert_eq!(set.try_wait(), Ok(Some(0)));
        other.try_write(b"x").unwrap();
        assert_eq!(single.as_mut().unwrap().try_read(&mut [0]), Ok(1));
    });
}

/// Without memory or processes to spare, there is no descriptor, and the set serves without one.
#[test]
fn what_the_system_refuses_is_an_error() {
    alone("bad_input::what_the_system_refuses_is_an_error", || {
        let (mut producer, consumer) = pair();
        let mut set = WaitSet::from(consumer);
        let mut child = Fork::new(|| {
            let (_producer, consumer) = pair();
            let mut set = WaitSet::from(consumer);
            filter::fail(libc::SYS_eventfd2, libc::EMFILE);
            let error = set.poll_fd().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
            assert_eq!(set.try_wait(), Ok(None));
        });
        assert_eq!(child.wait(), End::Exit(0));
        refuse_threads();
        for _ in 0..2 {
            let error = set.poll_fd().unwrap_err();
            assert!(error.to_string().contains("no thread"), "{error}");
        }
        assert_eq!(set.try_wait(), Ok(None));
        producer.try_write(b"x").unwrap();
        assert_eq!(set.wait(), Ok(Some(0)));
    });
}

/// From here on no thread can be started, in this process and its children.
fn refuse_threads() {
    filter::fail(libc::SYS_clone3, libc::ENOSYS); // as on an old kernel
    filter::fail(libc::SYS_clone, libc::EAGAIN);
}

/// Whether the thread of the descriptors runs.
fn has_waiter() -> bool {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default()
    };
    tasks.map(name).any(|name| name.trim() == "shmpipe-waiter")
}

/// The thread ends when it is not needed. If no other can be started, the descriptor says all the
/// time that there is something to look at.
#[test]
fn a_descriptor_without_a_thread_stays_readable() {
    alone(
        "bad_input::a_descriptor_without_a_thread_stays_readable",
        || {
            let (mut producer, consumer) = pair();
            let mut set = WaitSet::from(consumer);
            let descriptor = set.poll_fd().unwrap();
            until(|| {
                assert_eq!(set.try_wait(), Ok(None));
                has_waiter()
            });
            assert_eq!(set[0].available(), Ok(0)); // the thread no longer waits for the handle
            until(|| !has_waiter());
            refuse_threads();
            for _ in 0..3 {
                assert_eq!(set.try_wait(), Ok(None));
                assert!(is_readable_within(&descriptor, 0));
            }
            producer.try_write(b"x").unwrap();
            assert_eq!(set.try_wait(), Ok(Some(0)));
            assert_eq!(set[0].try_read(&mut [0]), Ok(1));
        },
    );
}

#[test]
fn a_descriptor_outlives_its_set_and_stays_readable() {
    let (_producer, consumer) = pair();
    let mut set = WaitSet::from(consumer);
    let descriptor = set.poll_fd().unwrap();
    assert_eq!(set.try_wait(), Ok(None));
    assert!(!is_readable_within(&descriptor, 0));
    drop(set);
    assert!(is_readable_within(&descriptor, 0));
    until(|| is_readable_within(&descriptor, 0));
}
