//! Keys, project ids, segment ids and modes.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use shmpipe::sysv::{FileIdentity, Key, KeyError, Mode, Project, SegmentId};

use super::mode;
use crate::common::TempPath;

#[test]
fn key_equals_ftok() {
    let file = TempPath::new();
    for path in [
        &*file,
        Path::new("/"),
        Path::new("/dev/null"),
        Path::new("/proc/self/cwd"), // a link that is followed
    ] {
        let c_path = CString::new(path.as_os_str().as_bytes()).unwrap();
        for project in [1, 2, 127, 128, 254, 255] {
            // SAFETY: a string that ends in a zero byte.
            let expected = unsafe { libc::ftok(c_path.as_ptr(), project as i32) };
            let project = Project::new(project).unwrap();
            let key = Key::from_path(path, project).unwrap();
            assert_eq!(key.raw(), expected, "{}", path.display());
            let identity = FileIdentity::of(&File::open(path).unwrap(), project).unwrap();
            assert_eq!(identity, FileIdentity::at(path, project).unwrap());
            assert_eq!(identity.key().unwrap(), key);
            assert_eq!(
                key.to_string(),
                format!("0x{:08x}", expected.cast_unsigned())
            );
        }
    }
}

#[test]
fn missing_path_is_named() {
    let path = Path::new("/nonexistent/ring");
    let error = Key::from_path(path, Project::default()).unwrap_err();
    assert!(matches!(&error, KeyError::Path { path: named, source, .. }
        if named == path && source.kind() == io::ErrorKind::NotFound));
    assert!(error.to_string().contains("/nonexistent/ring"));
}

#[test]
fn project_is_1_to_255() {
    for value in [0, 256, 257, u32::MAX] {
        let error = Project::new(value).unwrap_err();
        assert!(matches!(error, KeyError::Project { value: named, .. } if named == value));
    }
    assert_eq!(Project::new(255).unwrap().get(), 255);
    assert_eq!(Project::default().get(), 1);
}

#[test]
fn key_is_neither_0_nor_minus_1() {
    assert!(matches!(Key::from_raw(0), Err(KeyError::Private)));
    assert!(matches!(Key::from_raw(-1), Err(KeyError::MinusOne)));
    assert_eq!(Key::from_raw(-2).unwrap().to_string(), "0xfffffffe");

    let mut identity = FileIdentity {
        dev: 0x1_00ff,
        ino: 0x1_ffff,
        birth: 0,
        project: Project::new(255).unwrap(),
    };
    let error = identity.key().unwrap_err();
    assert!(matches!(error, KeyError::MinusOne));
    assert!(error.to_string().contains("another project id"));
    identity.project = Project::new(254).unwrap();
    assert_eq!(identity.key().unwrap().raw(), 0xfeff_ffff_u32.cast_signed());
}

#[test]
fn ids_and_modes_are_checked() {
    assert!(SegmentId::from_raw(-1).is_err());
    assert!("".parse::<SegmentId>().is_err());
    assert!("2147483648".parse::<SegmentId>().is_err());
    assert_eq!("2147483647".parse::<SegmentId>().unwrap().raw(), i32::MAX);
    assert_eq!(Mode::new(0o1000), None);
    assert_eq!(mode(0o754).others_bits(), 0o4);
    assert_eq!(mode(0o660).others_bits(), 0);
}
