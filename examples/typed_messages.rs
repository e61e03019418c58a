//! Values of one type, from one thread to another, without a serializer.
//!
//! ```text
//! cargo run --features zerocopy --example typed_messages
//! ```
//!
//! The stream begins with the size of the type, and a hash of its name. A reader of another
//! type is refused. Between processes the code is the same: `fork_pair` shows how two processes
//! share a ring.

use std::io;
use std::thread;

use shmpipe::RecordError;
use shmpipe::records::{MessageReader, MessageWriter};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// One measurement. The derives check that there is no padding, and that every pattern of bytes
/// is a value.
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Sample {
    time: u64,
    sensor: u32,
    value: f32,
}

/// Change this name whenever the meaning of the bytes changes.
const NAME: &str = "sample/1";

fn main() -> io::Result<()> {
    let (producer, consumer) = shmpipe::pair()?;
    let writing = thread::spawn(move || write(MessageWriter::new(producer, NAME)));

    let mut reader = MessageReader::<Sample>::new(consumer, NAME);
    let mut samples = [Sample::default(); 256];
    let (mut count, mut sums) = (0, [0.0; 4]);
    loop {
        // Waits for the first one, then takes as many as there are.
        let some = reader.read_slice(&mut samples)?;
        if some == 0 {
            break; // the end of the stream
        }
        for sample in &samples[..some] {
            // The sensor came from another process: check it.
            let sum = sums
                .get_mut(sample.sensor as usize)
                .ok_or(io::ErrorKind::InvalidData)?;
            *sum += f64::from(sample.value);
        }
        count += some;
    }
    println!("{count} samples; the sums of the sensors: {sums:?}");
    writing.join().expect("the writer does not panic")?;
    Ok(())
}

fn write(mut writer: MessageWriter<Sample>) -> Result<(), RecordError> {
    for time in 0..250 {
        let sample = |sensor| Sample {
            time,
            sensor,
            value: sensor as f32 + 0.5,
        };
        writer.write_slice(&[0, 1, 2, 3].map(sample))?; // published at once
    }
    Ok(()) // the drop finishes the stream
}
