//! `shmpipe rm`: removes rings, and nothing but rings.

use shmpipe::escape::shown;

use crate::args::{RmArgs, RmTarget};
use crate::exit::Failure;

pub(crate) fn run(args: &RmArgs) -> Result<(), Failure> {
    match &args.target {
        RmTarget {
            path: Some(path), ..
        } => {
            shmpipe::remove_path(path, args.project, args.force)?;
            say(format_args!("removed the ring of {}", shown(path)))
        }
        RmTarget { id: Some(id), .. } => {
            shmpipe::remove(*id, args.force)?;
            say(format_args!("removed segment {id}"))
        }
        _ => {
            for id in shmpipe::remove_stale()? {
                say(format_args!("removed segment {id}"))?;
            }
            Ok(())
        }
    }
}

fn say(line: std::fmt::Arguments<'_>) -> Result<(), Failure> {
    crate::text::print(format_args!("{line}\n"))
}
