//! Converts one file and says what came out: `cargo run -p images --example convert -- FILE OUT-FOLDER [COMMAND…]`.

#![allow(clippy::print_stdout, reason = "that is what it is for")]

use std::fs::File;
use std::path::PathBuf;

use images::bases::Shelf;
use images::{Architecture, Limits, Options, Stop, convert};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let input = File::open(arguments.next().ok_or("which file?")?)?;
    let folder = PathBuf::from(arguments.next().ok_or("which folder?")?);
    let options = Options {
        architecture: Architecture::HOST,
        command: arguments.collect(),
        base: None,
        bases: &Shelf::new(folder.join("bases")),
        folder: &folder,
        limits: Limits::default(),
        stop: Stop::default(),
    };
    println!("{:#?}", convert(input, &options)?);
    Ok(())
}
