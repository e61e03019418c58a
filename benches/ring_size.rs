//! How large should the ring be? Blocks of 4 KiB and of 64 KiB, beside a pipe and a Unix
//! socket of default size.

mod common;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn ring_size(c: &mut Criterion) {
    for block in [4 << 10, 64 << 10] {
        let mut group = c.benchmark_group(format!("ring size, blocks of {} KiB", block >> 10));
        group.throughput(Throughput::Bytes(block as u64));
        for capacity in [
            16 << 10,
            64 << 10,
            256 << 10,
            1 << 20,
            4 << 20,
            16 << 20,
            64 << 20,
        ] {
            let mut options = shmpipe::Options::new();
            options.capacity(capacity);
            let mut ring = common::ring_stream(&options, block);
            let name = BenchmarkId::new("shmpipe", format!("{} KiB", capacity >> 10));
            group.bench_function(name, |b| b.iter_custom(|count| ring.time(count)));
        }
        let mut pipe = common::pipe_stream(block);
        group.bench_function("pipe", |b| b.iter_custom(|count| pipe.time(count)));
        let mut unix = common::unix_stream(block);
        group.bench_function("unix socket", |b| b.iter_custom(|count| unix.time(count)));
    }
}

criterion_group!(name = benches; config = common::criterion(); targets = ring_size);
criterion_main!(benches);
