//! The package of the benchmarks, which are in the folder `benches` of the repository.
