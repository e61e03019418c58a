//! Opening: what cannot be, who meets whom, and what is left behind.

mod found;
mod impossible;
mod meeting;
mod names;

use std::path::Path;
use std::thread;

use shmpipe::sysv::{self, SegmentId};
use shmpipe::{Consumer, Options, Producer};

/// Opens both ends of `path`, each waiting for the other.
fn open_both(options: &Options, path: &Path) -> (Producer, Consumer) {
    thread::scope(|scope| {
        let producer = scope.spawn(|| options.open_producer(path));
        let consumer = options.open_consumer(path).unwrap();
        (producer.join().unwrap().unwrap(), consumer)
    })
}

fn is_gone(id: SegmentId) -> bool {
    sysv::stat(id).map_or(true, |stat| stat.marked_for_removal)
}
