//! The calls of other channels, and their counterparts here. This module has no code.
//!
//! # Pipes and FIFOs
//!
//! | pipe(7), fifo(7) | here |
//! |---|---|
//! | `pipe()`, [`std::io::pipe`] | [`pair()`](crate::pair()), between threads; a [`Ring`](crate::Ring), over a fork or an exec |
//! | `mkfifo(path)` | any file: `path` only names the ring, and the first opener makes the ring |
//! | `open(path, O_WRONLY)`, which waits for a reader | [`Producer::open`](crate::Producer::open), which waits for a consumer |
//! | `open(path, O_RDONLY)`, which waits for a writer | [`Consumer::open`](crate::Consumer::open), which waits for a producer |
//! | `O_NONBLOCK` in `open` | [`Options::wait_for_peer(false)`](crate::Options::wait_for_peer) |
//! | `write` | [`Write::write`](std::io::Write::write); a short write only if the stream breaks, or the time passes, in the middle |
//! | `read` | [`Read::read`](std::io::Read::read), at least one byte |
//! | `writev`, `readv` | [`Write::write_vectored`](std::io::Write::write_vectored), [`Read::read_vectored`](std::io::Read::read_vectored) |
//! | `fdopen`, `getline` | [`BufReader`](std::io::BufReader) and `lines()` |
//! | `O_NONBLOCK`, `EAGAIN` | [`try_write`](crate::Producer::try_write), [`try_read`](crate::Consumer::try_read): `Full` and `Empty`, as an [`io::Error`](std::io::Error) `WouldBlock` |
//! | `poll` before the call, for a time limit | [`set_timeout`](crate::Consumer::set_timeout), or a call that takes a [deadline](crate::Consumer::read_exact_deadline) |
//! | `poll` of one pipe | [`wait_readable`](crate::Consumer::wait_readable), [`wait_writable`](crate::Producer::wait_writable), for any number of bytes |
//! | `poll`, `select`, `epoll` of many pipes, and nothing else | [`WaitSet::wait`](crate::WaitSet::wait), for any number of rings |
//! | a loop that also watches sockets and timers: `epoll`, `mio`, `asyncio`, GLib | [`WaitSet::poll_fd`](crate::WaitSet::poll_fd), a descriptor for the loop, of a set of one ring or many |
//! | an executor | with the feature `async`, a task that sleeps: `asynchronous::AsyncConsumer::readable` |
//! | `FIONREAD` | [`Consumer::available`](crate::Consumer::available) |
//! | `F_SETPIPE_SZ`, 64 KiB by default | [`Options::capacity`](crate::Options::capacity), 4 MiB by default; fixed once the ring is made |
//! | messages in packet mode (`O_DIRECT`) | [`records`](crate::records), up to the capacity |
//! | a write of at most `PIPE_BUF` bytes is whole or not there | so is a [grant](crate::WriteGrant) of any length up to the capacity, and so is [`try_write_all`](crate::Producer::try_write_all) |
//! | the last writer closes: `read` gives 0 | [`Producer::close`](crate::Producer::close) or a drop: `read` gives 0 |
//! | a writer is killed: `read` gives 0 | the bytes, then [`Broken::Died`](crate::Broken): never 0 |
//! | the reader has gone: `SIGPIPE`, `EPIPE` | [`Broken::ConsumerClosed`](crate::Broken), a `BrokenPipe`; no signal |
//! | `splice`, `sendfile` | [`fill_from`](crate::Producer::fill_from), [`drain_to`](crate::Consumer::drain_to); with a deadline, [`fill_from_deadline`](crate::Producer::fill_from_deadline), [`drain_to_deadline`](crate::Consumer::drain_to_deadline) |
//! | a child's `Stdio` | [`Ring::spawn_consumer`](crate::Ring::spawn_consumer), [`Ring::spawn_producer`](crate::Ring::spawn_producer) |
//! | `popen2`: pipes to and from a child | [`spawn_duplex`](crate::spawn_duplex), and [`duplex_from_parent`](crate::duplex_from_parent) in the child |
//! | further descriptors for a child, by number | further ends for a child, by name: [`Handover`](crate::Handover) |
//! | `lsof`, `/proc/PID/fd` | [`Snapshot`](crate::Snapshot), or `shmpipe ls` |
//! | a mapping that you made and share yourself, such as a memfd | [`Options::create_in`](crate::Options::create_in), [`Options::attach_in`](crate::Options::attach_in) |
//! | several writers, several readers | one writer, one reader |
//! | the mode of a FIFO says who may open it | the mode of the segment, 0600 by default, and its owner: [`Options::mode`](crate::Options::mode), [`Options::owner`](crate::Options::owner) |
//! | the bytes of a FIFO go with its last process | so do those of a ring, unless it is [persistent](crate::Options::persistent) |
//!
//! # `std::sync::mpsc`
//!
//! | [`std::sync::mpsc`] | here |
//! |---|---|
//! | values of any type | values of one type of plain data: `records::MessageWriter`, with the feature `zerocopy`; or serialized [records](crate::records) |
//! | `sync_channel(n)` | [`Options::capacity`](crate::Options::capacity) in bytes, [`Options::create_anonymous`](crate::Options::create_anonymous), [`Ring::split`](crate::Ring::split) |
//! | `channel()`, without a bound | none: a producer waits while the ring is full |
//! | `Sender::clone` | none: one producer. Use a ring for each, and a [`WaitSet`](crate::WaitSet): `examples/collector.rs` |
//! | `select!` of other channels | [`WaitSet::wait`](crate::WaitSet::wait) |
//! | `send` | [`Write::write_all`](std::io::Write::write_all) |
//! | `recv` | [`Read::read`](std::io::Read::read), [`Read::read_exact`](std::io::Read::read_exact) |
//! | `try_send`, `try_recv` | [`try_write`](crate::Producer::try_write), [`try_read`](crate::Consumer::try_read), which may move a part |
//! | `send_timeout` of other channels | [`write_all_deadline`](crate::Producer::write_all_deadline), [`set_timeout`](crate::Producer::set_timeout) |
//! | `recv_timeout` | [`read_deadline`](crate::Consumer::read_deadline), [`set_timeout`](crate::Consumer::set_timeout) |
//! | `iter()` | [`BufReader`](std::io::BufReader) and `lines()`, or any streaming reader |
//! | `RecvError`: the senders are gone | `Ok(0)`, the end of the stream |
//! | `SendError`, which gives the value back | [`Broken::ConsumerClosed`](crate::Broken); what was published before is not given back |
//! | a panic drops the sender like anything else | a producer that is dropped while panicking breaks the stream off: [`Broken::ProducerAborted`](crate::Broken) |
//!
//! # `rtrb` and other rings in one process
//!
//! | `rtrb` | here |
//! |---|---|
//! | `RingBuffer::new(n)` | [`Options::capacity`](crate::Options::capacity), rounded up to a power of two of at least a page; [`Options::create_anonymous`](crate::Options::create_anonymous), [`Ring::split`](crate::Ring::split) |
//! | `Producer::slots` | [`Producer::room`](crate::Producer::room) |
//! | `Consumer::slots` | [`Consumer::available`](crate::Consumer::available) |
//! | `is_abandoned` | [`is_closed`](crate::Producer::is_closed); a process that died is found by [`check_peer`](crate::Producer::check_peer) |
//! | `push_partial_slice`, `pop_partial_slice` | [`try_write`](crate::Producer::try_write), [`try_read`](crate::Consumer::try_read) |
//! | a ring of `T` | `records::MessageWriter`, `MessageReader`, with the feature `zerocopy` |
//! | `Write` for a chunk | [`Write`](std::io::Write) for a [grant](crate::WriteGrant), and [`commit_written`](crate::WriteGrant::commit_written) |
//! | `write_chunk_uninit(n)` | [`try_reserve`](crate::Producer::try_reserve), [`try_reserve_up_to`](crate::Producer::try_reserve_up_to); the room is always initialised |
//! | `read_chunk(n)` | [`try_peek`](crate::Consumer::try_peek), [`try_peek_up_to`](crate::Consumer::try_peek_up_to) |
//! | `commit(k)` of a write chunk | [`commit`](crate::WriteGrant::commit) |
//! | `commit(k)` of a read chunk | [`consume`](crate::ReadGrant::consume) |
//! | `as_slices`: two slices, around the end | [`as_slice`](crate::ReadGrant::as_slice): one slice, `unsafe`, since the peer may be another process. [`read_at`](crate::ReadGrant::read_at) copies, and is safe. Only [the caller's memory](crate::Options::create_in) is divided at its end: [`Wraps`](crate::PeekError) |
//! | a slice that lives on, for a parser that borrows | [`ReadGrant::trusted`](crate::ReadGrant::trusted), [`WriteGrant::trusted`](crate::WriteGrant::trusted): also `BufRead`, and `Buf` and `BufMut` of `bytes` |
//! | `ChunkError::TooFewSlots(n)` | [`ReserveError::Full`](crate::ReserveError), [`PeekError::Empty`](crate::PeekError), which say how much there is |
//! | `Write` and `Read` never block, but fail with `WouldBlock` | they block; [`try_write`](crate::Producer::try_write) and [`try_read`](crate::Consumer::try_read) do not |
//! | a waiting loop of your own | [`WaitPolicy`](crate::WaitPolicy) |
//!
//! # Unix domain sockets
//!
//! | unix(7), stream sockets | here |
//! |---|---|
//! | `socketpair()`, both ways | two rings, one for each direction; for a child, [`spawn_duplex`](crate::spawn_duplex) |
//! | `bind`, `listen`, `accept` | both sides open one path, in either order; one producer, one consumer |
//! | messages (`SOCK_SEQPACKET`) | [`records`](crate::records): a record is complete or absent |
//! | descriptors (`SCM_RIGHTS`) | none |
//! | `SO_PEERCRED` | [`peer`](crate::Producer::peer): the process id, and whether it lives |
//! | `SO_RCVTIMEO`, `SO_SNDTIMEO` | [`set_timeout`](crate::Producer::set_timeout) |
//! | `shutdown(SHUT_WR)` | [`Producer::close`](crate::Producer::close) |
//! | a stream that its writer gives up looks like one that ended | [`Producer::abort`](crate::Producer::abort): the peer reads what is left, then gets [`Broken::ProducerAborted`](crate::Broken), a `ConnectionAborted` |
//! | `MSG_PEEK` | [`peek`](crate::Consumer::peek) |
//! | [`BufWriter`](std::io::BufWriter), for fewer system calls | [`set_batch`](crate::Producer::set_batch) and [`flush`](std::io::Write::flush), for fewer publications |
//! | the kernel cleans up | the kernel frees an anonymous ring, and a named one that both sides have opened; for other rings see [`remove_stale`](crate::remove_stale) |
//!
//! # tokio
//!
//! | `tokio` | here, with the feature `tokio` |
//! |---|---|
//! | `net::unix::pipe::Sender`, `Receiver` | `asynchronous::AsyncProducer`, `AsyncConsumer`: `AsyncWrite` and `AsyncRead` of tokio |
//! | `Sender::from_file` | `AsyncProducer::from`, for any [`Producer`](crate::Producer) |
//! | `io::split`, `UnixStream::split` | two rings are divided already |
//! | `writable`, `readable` | `AsyncProducer::writable`, `AsyncConsumer::readable`, for any number of bytes |
//! | `shutdown` | the same; it finishes the stream |
//! | `Framed` with `LengthDelimitedCodec` | the same, on each handle: `examples/tokio_codec.rs` |
//! | `kill_on_drop` of a child | `set_abort_on_drop` of a handle: a dropped task breaks its stream off |
//!
//! # Examples
//!
//! A request that is looked at before it is taken, as with a socket's `MSG_PEEK` or a chunk of
//! `rtrb`:
//!
//! ```
//! use shmpipe::records::{RecordReader, RecordWriter};
//!
//! let (producer, consumer) = shmpipe::pair()?;
//! RecordWriter::new(producer).write(b"whole or not there")?;
//!
//! let mut reader = RecordReader::new(consumer);
//! let mut batch = reader.batch()?.expect("the stream goes on");
//! let record = batch.next_record().expect("a batch has a record");
//! let mut first = [0; 5];
//! record.read_at(&mut first, 0);
//! assert_eq!(&first, b"whole");
//! batch.consume(); // without this call, it stays
//! # Ok::<(), std::io::Error>(())
//! ```
