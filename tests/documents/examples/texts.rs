//! Examples that send strings.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::process::{Command, Stdio};

use super::{Example, binary, read, write};
use crate::common::{TempPath, is_waited_for, until};

#[test]
fn reader_prints_what_writer_left() {
    let path = TempPath::new();
    std::fs::remove_file(&path).unwrap(); // the writer makes it

    let writer = write(&path, b"a string in shared memory\nnot this line\n");
    assert!(
        writer.printed().contains("26 bytes are in segment"),
        "{writer:?}"
    );
    assert!(path.leads_to_a_segment());

    let reader = read(&path);
    assert_eq!(reader.printed(), "a string in shared memory\n");
    assert!(!path.leads_to_a_segment());
    writer.leaves_no_segment();
}

#[test]
fn reader_prints_strings_in_the_order_written() {
    let path = TempPath::new();
    write(&path, b"first\n").printed();
    write(&path, "zweite Zeichenkette äöü\n".as_bytes()).printed();
    let reader = read(&path);
    assert_eq!(reader.printed(), "first\nzweite Zeichenkette äöü\n");
    assert!(!path.leads_to_a_segment());
}

#[test]
fn an_empty_string_is_a_string() {
    let path = TempPath::new();
    write(&path, b"").printed();
    assert_eq!(read(&path).printed(), "");
    assert!(!path.leads_to_a_segment());
}

#[test]
fn a_string_that_does_not_fit_is_refused_and_never_printed() {
    let path = TempPath::new();
    let writer = write(&path, &vec![b'x'; shmpipe::DEFAULT_CAPACITY + 1]);
    assert!(writer.complaint().contains("fit the ring"), "{writer:?}");
    let reader = read(&path);
    assert!(reader.complaint().contains("ProducerAborted"), "{reader:?}");
    assert_eq!(reader.stdout, "");
    assert!(!path.leads_to_a_segment());
}

#[test]
fn reader_gives_up_without_a_writer() {
    let path = TempPath::new();
    let reader = read(&path);
    assert!(reader.complaint().contains("TimedOut"), "{reader:?}");
    assert!(!path.leads_to_a_segment());
    reader.leaves_no_segment();
}

/// As another user, if this process may become one. Otherwise as this user, twice.
#[test]
fn a_text_goes_from_one_user_to_another() {
    const OTHER: u32 = 54321;
    let (path, copy) = (TempPath::new(), TempPath::new());
    std::fs::remove_file(&path).unwrap(); // whoever comes first makes it
    // The other user may not reach the folder of the build.
    std::fs::copy(binary("two_users"), &copy).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&copy, mode).unwrap();
    // SAFETY: no arguments.
    #[allow(unsafe_code)]
    let own = unsafe { libc::geteuid() };
    let start = |verb, becomes: Option<u32>, peer: u32| {
        let mut command = Command::new(&*copy);
        command
            .args([
                OsStr::new(verb),
                path.as_ref(),
                OsStr::new(&peer.to_string()),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if own == 0 {
            std::os::unix::process::CommandExt::gid(&mut command, OTHER);
        }
        if let Some(user) = becomes {
            std::os::unix::process::CommandExt::uid(&mut command, user);
        }
        let mut child = None;
        until(|| match command.spawn() {
            // A child that another test is starting has the copy open for writing.
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => false,
            spawned => child.insert(spawned.unwrap()).id() > 0,
        });
        Example {
            child: child.unwrap(),
        }
    };
    let other = (own == 0).then_some(OTHER);
    let receiver = start("receive", None, other.unwrap_or(own));
    until(|| is_waited_for(&path));
    let mut sender = start("send", other, own);
    sender.feed(b"from another user\n");
    let (sender, receiver) = (sender.end(), receiver.end());
    assert_eq!(sender.printed(), "18 bytes sent\n");
    assert_eq!(receiver.printed(), "from another user\n");
    assert!(!path.leads_to_a_segment());
    receiver.leaves_no_segment();
}
