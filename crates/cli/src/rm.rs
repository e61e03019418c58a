//! `shmpipe rm`: removes rings, and only rings.

use shmpipe::escape::shown;
use shmpipe::{Occupant, Options, RemoveError, Snapshot, User};

use crate::args::{RmArgs, RmTarget};
use crate::exit::Failure;
use crate::rings::{Segment, holder, survey};

pub(crate) fn run(args: &RmArgs) -> Result<(), Failure> {
    match &args.target {
        RmTarget {
            path: Some(path), ..
        } => {
            let mut options = Options::new();
            options.project(args.project);
            let name = format!("the ring of {}", shown(path));
            if args.dry_run {
                return would_remove(&name, &options.snapshot(path)?, args.force);
            }
            let removed = match args.force {
                true => options.force_remove(path),
                false => options.remove(path),
            };
            removed.map_err(explained)?;
            say(format_args!("removed {name}"))
        }
        RmTarget { id: Some(id), .. } => {
            if args.dry_run {
                return would_remove(&format!("segment {id}"), &Snapshot::of(*id)?, args.force);
            }
            let removed = match args.force {
                true => shmpipe::force_remove(*id),
                false => shmpipe::remove(*id),
            };
            removed.map_err(explained)?;
            say(format_args!("removed segment {id}"))
        }
        _ if args.dry_run || args.older_than.is_some() => remove_some(args),
        _ => {
            for id in shmpipe::remove_stale()? {
                say(format_args!("removed segment {id}"))?;
            }
            Ok(())
        }
    }
}

/// Removes the stale rings that are old enough, or says which these are.
fn remove_some(args: &RmArgs) -> Result<(), Failure> {
    let least = args.older_than.unwrap_or_default();
    let is_meant = |segment: &Segment| segment.is_stale() && segment.age() >= least;
    let mut failed = None;
    for segment in survey()?.iter().filter(|segment| is_meant(segment)) {
        let id = segment.id();
        if args.dry_run {
            say(format_args!(
                "would remove segment {id} ({})",
                segment.path()
            ))?;
            continue;
        }
        match shmpipe::remove(id) {
            Ok(()) => say(format_args!("removed segment {id}"))?,
            // Somebody has just joined it, or removed it, or it is not ours to remove.
            Err(RemoveError::InUse { .. }) => {}
            Err(error) => _ = failed.get_or_insert(Failure::from(error)),
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Says that a ring would be removed, or by whom it is in use.
fn would_remove(name: &str, ring: &Snapshot, force: bool) -> Result<(), Failure> {
    let is_used = |occupant| matches!(occupant, Occupant::Process(_));
    let mut users = Vec::new();
    for (role, occupant) in [("sender", ring.producer), ("receiver", ring.consumer)] {
        if is_used(occupant) {
            users.push(format!("the {role}, {}", holder(occupant)));
        }
    }
    if users.is_empty() && ring.attached > 0 {
        users.push(format!(
            "others, who have it attached {} times",
            ring.attached
        ));
    }
    match (users.is_empty(), force) {
        (true, _) => say(format_args!("would remove {name}")),
        (false, true) => say(format_args!(
            "would remove {name}, in use by {}",
            users.join(" and ")
        )),
        (false, false) => {
            let why = format!(
                "{name} is in use by {} (--force removes it)",
                users.join(" and ")
            );
            Err(Failure::other(why))
        }
    }
}

/// The failure, with the names of the commands that use the ring.
fn explained(error: RemoveError) -> Failure {
    let name = |pid: Option<u32>| pid.filter(|&pid| pid != 0).and_then(crate::rings::name_of);
    let names = match &error {
        RemoveError::InUse {
            by: User::Sides { producer, consumer },
            ..
        } => [name(*producer), name(*consumer)],
        RemoveError::InUse {
            by: User::Maker(pid) | User::Others { last: pid, .. },
            ..
        } => [name(*pid), None],
        _ => [None, None],
    };
    let names: Vec<String> = names.into_iter().flatten().collect();
    let failure = Failure::from(error);
    match names.is_empty() {
        true => failure,
        false => failure.and(format_args!(" (commands: {})", names.join(", "))),
    }
}

fn say(line: std::fmt::Arguments<'_>) -> Result<(), Failure> {
    crate::text::print(format_args!("{line}\n"))
}
