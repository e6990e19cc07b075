//! Makes the bases: `cargo run -p images --example bases -- FOLDER [NAME]`.

#![allow(clippy::print_stdout, reason = "that is what it is for")]

use images::Architecture;
use images::bases::{self, BaseId, Shelf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let shelf = Shelf::new(arguments.next().ok_or("which folder?")?);
    let wanted = match arguments.next() {
        Some(name) => vec![name.parse()?],
        None => BaseId::ALL.to_vec(),
    };
    for id in wanted {
        let base = bases::build(id, Architecture::HOST, &shelf)?;
        println!("{id}: {} ({} bytes)", base.rootfs.path.display(), base.rootfs.size.0);
    }
    Ok(())
}
