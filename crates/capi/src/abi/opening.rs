//! Opening, giving and removing rings.

use std::ffi::{c_char, c_int};
use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::Arc;

use ring::sysv::SegmentId;
use ring::{Handover, Options, Role};

use super::{clear, end_of, give_out, guard, guard_code, name_of, path_of};
use crate::end::{End, role};
use crate::failure::Failure;
use crate::options::{Flag, RawOptions, options};

/// The options behind a pointer of C. NULL stands for the defaults. A shorter struct comes from an older
/// header. A longer one comes from a newer header, and its unknown fields must be zero.
///
/// # Safety
///
/// The pointer is NULL, or leads to as many readable bytes as the first field says. `cancel` is NULL
/// or a flag (rule 1).
unsafe fn options_of(raw: *const RawOptions) -> Result<Options, Failure> {
    const KNOWN: usize = size_of::<RawOptions>();
    /// Bytes of the struct in the first release.
    const FIRST: usize = KNOWN;
    let mut known = RawOptions::DEFAULT;
    if !raw.is_null() {
        if !raw.is_aligned() {
            return Err(Failure::invalid("the options are not aligned"));
        }
        // SAFETY: the first field is readable, as the caller guarantees, and aligned.
        let size = unsafe { raw.cast::<usize>().read() };
        if !(FIRST..=4096).contains(&size) {
            return Err(Failure::invalid(
                "options.size is not sizeof(shmpipe_options): use SHMPIPE_OPTIONS_INIT",
            ));
        }
        let from = raw.cast::<u8>();
        // SAFETY: `size` bytes are readable, as the caller guarantees, and `known` is another
        // object of at least the bytes copied. Any bytes are a valid `RawOptions`.
        unsafe { ptr::copy_nonoverlapping(from, (&raw mut known).cast(), size.min(KNOWN)) };
        for offset in KNOWN..size {
            // SAFETY: inside the caller's struct.
            let byte = unsafe { from.add(offset) };
            // SAFETY: readable, as the caller guarantees.
            if unsafe { byte.read() } != 0 {
                return Err(Failure::invalid(
                    "options has a field that this version of the library does not know",
                ));
            }
        }
    }
    let cancel = match known.cancel.is_null() {
        true => None,
        // SAFETY: a flag that `shmpipe_flag_new` returned, and that was not freed (rule 1).
        false => Some(unsafe { flag_of(known.cancel) }),
    };
    options(&known, cancel)
}

/// A share of a flag that C holds.
///
/// # Safety
///
/// Rule 1, and the flag is not NULL.
unsafe fn flag_of(flag: *const Flag) -> Arc<Flag> {
    // SAFETY: the pointer came from `Arc::into_raw`, whose count C holds until it frees the flag.
    // `ManuallyDrop` leaves this count with C.
    let held = ManuallyDrop::new(unsafe { Arc::from_raw(flag) });
    Arc::clone(&held)
}

/// # Safety
///
/// Rule 4 for `end`. `path` is NULL or a string. `raw` is NULL or options.
#[unsafe(no_mangle)]
unsafe extern "C" fn shmpipe_open(
    path: *const c_char,
    asked: u32,
    raw: *const RawOptions,
    end: *mut *mut End,
) -> c_int {
    guard_code(|| {
        // SAFETY: the caller guarantees it.
        unsafe { clear(end) }?;
        // SAFETY: the caller guarantees it.
        let path = unsafe { path_of(path) }?;
        // SAFETY: the caller guarantees it.
        let options = unsafe { options_of(raw) }?;
        let opened = match role(asked)? {
            Role::Producer => End::from(options.open_producer(path)?),
            Role::Consumer => End::from(options.open_consumer(path)?),
        };
        // SAFETY: the caller guarantees it.
        unsafe { give_out(end, opened) }
    })
}

/// # Safety
///
/// Rule 4 for `end`. `raw` is NULL or options.
#[unsafe(no_mangle)]
unsafe extern "C" fn shmpipe_create(
    asked: u32,
    raw: *const RawOptions,
    end: *mut *mut End,
) -> c_int {
    guard_code(|| {
        // SAFETY: the caller guarantees it.
        unsafe { clear(end) }?;
        // SAFETY: the caller guarantees it.
        let options = unsafe { options_of(raw) }?;
        let asked = role(asked)?;
        let made = taken(options.create_anonymous()?, asked)?;
        // SAFETY: the caller guarantees it.
        unsafe { give_out(end, made) }
    })
}

fn taken(ring: ring::Ring, asked: Role) -> Result<End, Failure> {
    Ok(match asked {
        Role::Producer => End::from(ring.into_producer()?),
        Role::Consumer => End::from(ring.into_consumer()?),
    })
}

/// # Safety
///
/// Rule 4 for `end`. `raw` is NULL or options.
#[unsafe(no_mangle)]
unsafe extern "C" fn shmpipe_attach(
    id: i32,
    nonce: u64,
    asked: u32,
    raw: *const RawOptions,
    end: *mut *mut End,
) -> c_int {
    guard_code(|| {
        // SAFETY: the caller guarantees it.
        unsafe { clear(end) }?;
        // SAFETY: the caller guarantees it.
        let options = unsafe { options_of(raw) }?;
        let asked = role(asked)?;
        let id = SegmentId::from_raw(id);
        let id = id.map_err(|_| Failure::invalid("the id of the segment is negative"))?;
        let ring = options.attach(id)?;
        if nonce != 0 && ring.nonce() != nonce {
            return Err(Failure::other_ring());
        }
        let attached = taken(ring, asked)?;
        // SAFETY: the caller guarantees it.
        unsafe { give_out(end, attached) }
    })
}

/// # Safety
///
/// Rule 4 for `producer` and `consumer`. `raw` is NULL or options.
#[unsafe(no_mangle)]
unsafe extern "C" fn shmpipe_pair(
    raw: *const RawOptions,
    producer: *mut *mut End,
    consumer: *mut *mut End,
) -> c_int {
    guard_code(|| {
        // SAFETY: the caller guarantees it.
        unsafe { clear(producer) }?;
        // SAFETY: the caller guarantees it.
        unsafe { clear(consumer) }?;
        // SAFETY: the caller guarantees it.
        let options = unsafe { options_of(raw) }?;
        let (writing, reading) = options.pair()?;
        // SAFETY: the caller guarantees it.
        unsafe { give_out(producer, writing) }?;
        // SAFETY: the caller guarantees it.
        unsafe { give_out(consumer, reading) }
    })
}

/// # Safety
///
/// Rule 4 for `end`. `name` is NULL or a string. `raw` is NULL or options.
#[unsafe(no_mangle)]
unsafe extern "C" fn shmpipe_from_parent(
    name: *const c_char,
    asked: u32,
    raw: *const RawOptions,
    end: *mut *mut End,
) -> c_int {
    guard_code(|| {
        // SAFETY: the caller guarantees it.
        unsafe { clear(end) }?;
        // SAFETY: the caller guarantees it.
        let name = unsafe { name_of(name) }?;
        // SAFETY: the caller guarantees it.
        let options = unsafe { options_of(raw) }?;
        let taken = match role(asked)? {
            Role::Producer => End::from(options.producer_from_parent_by_name(name)?),
            Role::Consumer => End::from(options.consumer_from_parent_by_name(name)?),
        };
        // SAFETY: the caller guarantees it.
        unsafe { give_out(end, taken) }
    })
}

/// # Safety
///
/// `ends` leads to `count` ends (rules 1 and 2). `names` is NULL, or leads to as many strings or
/// NULLs. `value` is valid for writes of `size` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn shmpipe_give(
    ends: *const *mut End,
    names: *const *const c_char,
    count: usize,
    value: *mut c_char,
    size: usize,
) -> i64 {
    guard(|| {
        if ends.is_null() || value.is_null() {
            return Err(Failure::invalid("the list of ends or the buffer is NULL"));
        }
        if !(1..=64).contains(&count) {
            return Err(Failure::invalid("a child gets 1 to 64 ends at once"));
        }
        // SAFETY: `count` readable pointers, as the caller guarantees.
        let ends = unsafe { std::slice::from_raw_parts(ends, count) };
        if (1..count).any(|at| ends[..at].contains(&ends[at])) {
            return Err(Failure::invalid("an end is in the list twice"));
        }
        let mut handover = Handover::new();
        for (at, end) in ends.iter().enumerate() {
            let name = match names.is_null() {
                true => "",
                false => {
                    // SAFETY: inside the list, which has `count` names.
                    let name = unsafe { names.add(at) };
                    // SAFETY: readable, as the caller guarantees.
                    let name = unsafe { name.read() };
                    // SAFETY: a string or NULL, as the caller guarantees.
                    unsafe { name_of(name) }?
                }
            };
            // SAFETY: rules 1 and 2. No two references lead to one end, since none is there twice.
            let end = unsafe { end_of(*end) }?;
            handover = end.give(name, handover)?;
        }
        let text = handover.variable()?;
        if text.len() >= size {
            return Err(Failure::too_long("the buffer is too short for the value"));
        }
        // SAFETY: the text and its NUL fit into `size` bytes, which are valid for writes.
        unsafe { ptr::copy_nonoverlapping(text.as_ptr().cast(), value, text.len()) };
        // SAFETY: `text.len()` is less than `size`.
        let last = unsafe { value.add(text.len()) };
        // SAFETY: inside the buffer.
        unsafe { last.write(0) };
        Ok(text.len() as i64)
    })
}

/// # Safety
///
/// Rules 1 and 2.
#[unsafe(no_mangle)]
unsafe extern "C" fn shmpipe_given_to(end: *mut End, child: i64) -> c_int {
    guard_code(|| {
        // SAFETY: the caller guarantees it.
        let end = unsafe { end_of(end) }?;
        let child = u32::try_from(child).ok().filter(|child| *child > 0);
        let child = child.ok_or_else(|| {
            Failure::invalid("the process id of the child is not positive, or too large")
        })?;
        end.give("", Handover::new())?.given_to(child);
        Ok(())
    })
}

/// # Safety
///
/// `path` is NULL or a string. `raw` is NULL or options.
#[unsafe(no_mangle)]
unsafe extern "C" fn shmpipe_remove(path: *const c_char, raw: *const RawOptions) -> c_int {
    guard_code(|| {
        // SAFETY: the caller guarantees it.
        let path = unsafe { path_of(path) }?;
        // SAFETY: the caller guarantees it.
        let options = unsafe { options_of(raw) }?;
        Ok(options.remove(path)?)
    })
}
