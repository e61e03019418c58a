//! How much does it help to publish many messages of 64 bytes together?
//!
//! A pipe and a Unix socket get their bytes from a `BufWriter` of the batch size.

mod common;

use std::io::BufWriter;
use std::os::unix::net::UnixStream;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const SIZE: usize = 64;

fn batch_size(c: &mut Criterion) {
    let mut group = c.benchmark_group("batch size");
    group.throughput(Throughput::Elements(1));
    for batch in [0, 256, 1 << 10, 4 << 10, 16 << 10] {
        let mut options = shmpipe::Options::new();
        options.batch(batch);
        let mut ring = common::ring_stream(&options, SIZE);
        group.bench_function(BenchmarkId::new("shmpipe", batch), |b| {
            b.iter_custom(|count| ring.time(count));
        });
        let (reader, writer) = std::io::pipe().unwrap();
        let sender = move || BufWriter::with_capacity(batch, writer);
        let mut pipe = common::Stream::new(SIZE, sender, || reader);
        group.bench_function(BenchmarkId::new("pipe", batch), |b| {
            b.iter_custom(|count| pipe.time(count));
        });
        let (ours, theirs) = UnixStream::pair().unwrap();
        let sender = move || BufWriter::with_capacity(batch, theirs);
        let mut unix = common::Stream::new(SIZE, sender, || ours);
        group.bench_function(BenchmarkId::new("unix socket", batch), |b| {
            b.iter_custom(|count| unix.time(count));
        });
    }
}

criterion_group!(name = benches; config = common::criterion(); targets = batch_size);
criterion_main!(benches);
