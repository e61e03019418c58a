//! The pages of the documentation. This module has no code.
//!
//! | to | read |
//! |---|---|
//! | choose a capacity, a wait policy, a call for a thread that must not block | [`choosing`] |
//! | know what each side sees when something goes wrong | [`failures`] |
//! | run in containers, as a service, or between users; know the limits | [`deployment`] |
//! | keep a ring longer than its processes | [`persistent`] |
//! | carry a stream to another host | [`beyond_one_host`] |
//! | know what a hostile peer can do | [`trust`] |
//! | come from pipes, sockets, channels or `rtrb` | [`from_other_channels`] |
//! | use the command | [`command`] |
//! | hold an end in C, C++, Python or another language | [`languages`] |
//! | understand the code | [`architecture`], [`glossary`] |
//! | know the bytes of a segment, or write a peer | [`format`](mod@format) |
//! | see figures, or make it faster | [`performance`] |
//! | see what is tested, or test | [`testing`] |

pub mod from_other_channels;

/// A page of `src/guide`, as a module. A page refers to others by name, `[failures]`.
/// In the file, the last lines resolve such a name to a file. Here `links.txt` comes
/// first, and resolves the name to a module.
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
page!(beyond_one_host, "beyond_one_host.md");
page!(choosing, "choosing.md");
page!(command, "command.md");
page!(deployment, "deployment.md");
page!(failures, "failures.md");
page!(format, "format.md");
page!(glossary, "glossary.md");
page!(languages, "languages.md");
page!(performance, "performance.md", "charts.txt");
page!(persistent, "persistent.md");
page!(testing, "testing.md");
page!(trust, "trust.md");
