//! The documents of this project, as pages. There is no code in this module.
//!
//! | to | read |
//! |---|---|
//! | choose a capacity, a wait policy, a call for a thread that must not block | [`choosing`] |
//! | know what each side sees when something goes wrong | [`failures`] |
//! | run in containers, as a service, between users; know the limits | [`deployment`] |
//! | keep a ring longer than its processes | [`persistent`] |
//! | know what a hostile peer can do | [`trust`] |
//! | come from pipes, sockets, channels or `rtrb` | [`from_other_channels`] |
//! | use the command | [`command`] |
//! | understand the code | [`architecture`], [`glossary`] |
//! | know the bytes of a segment, or write a peer | [`protocol`] |
//! | see figures, or make it faster | [`performance`] |
//! | see what is tested, or test | [`testing`] |

pub mod from_other_channels;

/// A page of `src/guide`. A page refers to others by name, `[failures]`. Its own
/// last lines lead to files, for whoever reads it as a file; the references that
/// come first here lead to modules.
macro_rules! page {
    ($name:ident, $file:literal $(, $references:literal)?) => {
        #[doc = include_str!("links.txt")]
        $(#[doc = include_str!($references)])?
        #[doc = ""]
        #[doc = include_str!($file)]
        pub mod $name {}
    };
}

page!(architecture, "architecture.md");
page!(choosing, "choosing.md");
page!(command, "command.md");
page!(deployment, "deployment.md");
page!(failures, "failures.md");
page!(glossary, "glossary.md");
page!(performance, "performance.md", "charts.txt");
page!(persistent, "persistent.md");
page!(protocol, "protocol.md");
page!(testing, "testing.md");
page!(trust, "trust.md");
