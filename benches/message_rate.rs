//! How many messages a second, each published on its own, for each size?

mod common;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn message_rate(c: &mut Criterion) {
    let mut group = c.benchmark_group("message rate");
    group.throughput(Throughput::Elements(1));
    for size in [8, 64, 256] {
        let mut ring = common::ring_stream(&shmpipe::Options::new(), size);
        group.bench_function(BenchmarkId::new("shmpipe", size), |b| {
            b.iter_custom(|count| ring.time(count));
        });
        let mut pipe = common::pipe_stream(size);
        group.bench_function(BenchmarkId::new("pipe", size), |b| {
            b.iter_custom(|count| pipe.time(count));
        });
        let mut unix = common::unix_stream(size);
        group.bench_function(BenchmarkId::new("unix socket", size), |b| {
            b.iter_custom(|count| unix.time(count));
        });
    }
}

criterion_group!(name = benches; config = common::criterion(); targets = message_rate);
criterion_main!(benches);
