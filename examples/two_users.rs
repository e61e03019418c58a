//! Sends a text from a process of one user to a process of another user.
//!
//! ```text
//! cargo run --example two_users -- receive /srv/ring/name 1001              # as user 1000
//! echo hello | cargo run --example two_users -- send /srv/ring/name 1000    # as user 1001
//! ```
//!
//! The number is the other user's id (`id -u NAME`). Both processes need one effective group,
//! such as by `sg ring -c ...`. The file lies in a folder where only these users can replace it.

use std::error::Error;
use std::io;
use std::time::Duration;

use shmpipe::Options;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [verb, path, user] = args.as_slice() else {
        return Err("usage: two_users send|receive PATH USER-ID".into());
    };

    let mut options = Options::new();
    options
        // The group may read and write the ring. Whoever comes first makes the file, with this
        // mode less the umask.
        .mode(0o660)
        .create_file(true)
        // Without this line, a ring that the other user made is refused without being read.
        .owner(user.parse()?)
        .timeout(Some(Duration::from_secs(30)))
        .abort_on_drop(true); // `?` does not finish the stream
    match verb.as_str() {
        "send" => {
            let mut producer = options.open_producer(path)?;
            let bytes = io::copy(&mut io::stdin(), &mut producer)?;
            producer.close()?;
            println!("{bytes} bytes sent");
        }
        "receive" => {
            let mut consumer = options.open_consumer(path)?;
            io::copy(&mut consumer, &mut io::stdout())?;
            consumer.close()?;
        }
        verb => return Err(format!("`{verb}` is neither send nor receive").into()),
    }
    Ok(())
}
