//! `shmpipe rm`: removes rings, and only rings.

use shmpipe::Options;
use shmpipe::escape::shown;

use crate::args::{RmArgs, RmTarget};
use crate::exit::Failure;

pub(crate) fn run(args: &RmArgs) -> Result<(), Failure> {
    match &args.target {
        RmTarget {
            path: Some(path), ..
        } => {
            let mut options = Options::new();
            options.project(args.project);
            match args.force {
                true => options.force_remove(path)?,
                false => options.remove(path)?,
            }
            say(format_args!("removed the ring of {}", shown(path)))
        }
        RmTarget { id: Some(id), .. } => {
            match args.force {
                true => shmpipe::force_remove(*id)?,
                false => shmpipe::remove(*id)?,
            }
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
