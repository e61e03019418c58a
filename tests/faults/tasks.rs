//! The async handles, while system calls fail: their thread waits for them.

use std::path::Path;
use std::time::Duration;

use futures::executor::block_on;
use futures::io::AsyncWriteExt;
use shmpipe::asynchronous::AsyncProducer;

use crate::scenario::{Done, bytes, options, shown};

pub(crate) fn produce(path: &Path, limit: Duration, moved: &mut u64) -> Done {
    let producer = options(limit).open_producer(path).map_err(shown)?;
    let mut producer = AsyncProducer::new(producer);
    block_on(async {
        for piece in bytes().chunks(1500) {
            if let Err(error) = producer.write_all(piece).await {
                producer.get_mut().abort();
                return Err(shown(error));
            }
            *moved += piece.len() as u64;
        }
        producer.close().await.map_err(shown)
    })
}
