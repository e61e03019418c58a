//! Relays a persistent ring of [`shmpipe`] to a ring on another host, through a stream of
//! NATS JetStream. Each byte arrives once and in order. An end arrives as an end, a
//! break-off as a break-off, and a death as a death. Either relay, the broker or the
//! network may go away at any time and come back.
//!
//! [`send`] and [`recv`] are futures. The command `shmpipe-nats` has them as verbs. The
//! guide of the library has a page, "Beyond one host", with a quick start, the guarantees,
//! and what to watch.
//!
//! ```no_run
//! use async_nats::ConnectOptions;
//! use shmpipe_nats::{Link, Name, SendOptions, send};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let options = ConnectOptions::with_credentials_file("sender.creds").await?;
//! let link = Link::connect("tls://broker.example:4222", options, None).await?;
//! let ring = shmpipe::Options::new().persistent(true).open_consumer("/run/orders.ring")?;
//! let options = SendOptions::new(Name::new("orders")?);
//! send(&link, ring, &options, |notice| eprintln!("{notice}")).await?;
//! # Ok(())
//! # }
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`record`] | the records of the log |
//! | [`log`] | which records count, and what each adds: pure code, for both sides |
//! | [`window`] | how much is in flight |

#![deny(
    missing_debug_implementations,
    missing_docs,
    unreachable_pub,
    unsafe_code
)]

mod broker;
mod destination;
mod error;
mod link;
pub mod log;
mod pull;
pub mod record;
mod recv;
mod send;
mod settings;
pub mod window;

pub use error::Error;
pub use link::Link;
pub use recv::{RecvOptions, recv};
pub use send::{SendOptions, send};
pub use settings::{Create, Name};
