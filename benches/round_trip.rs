//! How long does a round trip of a message take while both sides are awake?

mod common;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use shmpipe::WaitPolicy;

fn round_trip(c: &mut Criterion) {
    let mut group = c.benchmark_group("round trip");
    let mut options = shmpipe::Options::new();
    options.wait_policy(WaitPolicy::Spin);
    for size in [8, 64, 1 << 10] {
        let mut ring = common::ring_echo(&options, size);
        group.bench_function(BenchmarkId::new("shmpipe", size), |b| {
            b.iter_custom(|count| ring.time(count));
        });
        let mut pipe = common::pipe_echo(size);
        group.bench_function(BenchmarkId::new("pipe", size), |b| {
            b.iter_custom(|count| pipe.time(count));
        });
        let mut unix = common::unix_echo(size);
        group.bench_function(BenchmarkId::new("unix socket", size), |b| {
            b.iter_custom(|count| unix.time(count));
        });
    }
}

criterion_group!(name = benches; config = common::criterion(); targets = round_trip);
criterion_main!(benches);
