//! How many bytes a second, for each size of block that a call moves?

mod common;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn throughput(c: &mut Criterion) {
    let mut group = c.benchmark_group("throughput");
    for block in [64, 1 << 10, 4 << 10, 64 << 10, 1 << 20] {
        group.throughput(Throughput::Bytes(block as u64));
        let mut ring = common::ring_stream(&shmpipe::Options::new(), block);
        group.bench_function(BenchmarkId::new("shmpipe", block), |b| {
            b.iter_custom(|count| ring.time(count));
        });
        let mut pipe = common::pipe_stream(block);
        group.bench_function(BenchmarkId::new("pipe", block), |b| {
            b.iter_custom(|count| pipe.time(count));
        });
        let mut unix = common::unix_stream(block);
        group.bench_function(BenchmarkId::new("unix socket", block), |b| {
            b.iter_custom(|count| unix.time(count));
        });
    }
}

criterion_group!(name = benches; config = common::criterion(); targets = throughput);
criterion_main!(benches);
