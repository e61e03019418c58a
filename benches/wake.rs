//! What does a round trip cost if both sides sleep? It has two wakes.

mod common;

use criterion::{Criterion, criterion_group, criterion_main};
use shmpipe::WaitPolicy;

fn wake(c: &mut Criterion) {
    let mut group = c.benchmark_group("two wakes");
    let mut options = shmpipe::Options::new();
    options.wait_policy(WaitPolicy::Park);
    let mut ring = common::ring_echo(&options, 64);
    group.bench_function("shmpipe", |b| b.iter_custom(|count| ring.time(count)));
    let mut pipe = common::pipe_echo(64);
    group.bench_function("pipe", |b| b.iter_custom(|count| pipe.time(count)));
    let mut unix = common::unix_echo(64);
    group.bench_function("unix socket", |b| b.iter_custom(|count| unix.time(count)));
}

criterion_group!(name = benches; config = common::criterion(); targets = wake);
criterion_main!(benches);
