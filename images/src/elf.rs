//! What an executable says about itself: for which machine it is, and what must be there to start it. Hostile files
//! may claim anything, so that each piece's size is checked before it is read.

use std::io::{Read, Seek};

use object::elf::{ET_DYN, ET_EXEC, FileHeader64, PN_XNUM, PT_INTERP};
use object::read::elf::{FileHeader as _, ProgramHeader as _};
use object::{Endianness, ReadCache, elf};

use crate::error::Error;
use crate::image::Architecture;

pub(crate) const MAGIC: &[u8] = b"\x7fELF";
const INTERPRETER_BYTES_MAX: u64 = 4096;

/// An executable's needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Needs {
    /// The dynamic loader; none for a static executable.
    pub(crate) loader: Option<Vec<u8>>,
}

/// Reads an executable's headers.
pub(crate) fn inspect<R: Read + Seek>(file: R, wanted: Architecture) -> Result<Needs, Error> {
    let file = ReadCache::new(file);
    let broken = |_| Error::MissingEntryPoint("the executable's headers are broken".to_owned());
    let wrong = |found: &str| Error::WrongPlatform { found: found.to_owned(), wanted: format!("linux/{wanted}") };
    let ident = object::ReadRef::read_bytes_at(&file, 0, 20)
        .map_err(|()| Error::MissingEntryPoint("the executable is cut off".to_owned()))?;
    if ident.get(4) != Some(&elf::ELFCLASS64.0) {
        return Err(wrong("a 32-bit machine"));
    }
    let header = FileHeader64::<Endianness>::parse(&file).map_err(broken)?;
    let endian = header.endian().map_err(broken)?;
    let machine = header.e_machine(endian);
    let (expected, other) = match wanted {
        Architecture::Amd64 => (elf::EM_X86_64, (elf::EM_AARCH64, "arm64")),
        Architecture::Arm64 => (elf::EM_AARCH64, (elf::EM_X86_64, "amd64")),
    };
    if machine != expected || endian != Endianness::Little {
        let name = if machine == other.0 { other.1.to_owned() } else { format!("machine type {}", machine.0) };
        return Err(wrong(&format!("linux/{name}")));
    }
    let kind = header.e_type(endian);
    if kind != ET_EXEC && kind != ET_DYN {
        return Err(Error::MissingEntryPoint("it is an ELF file, but not an executable".to_owned()));
    }
    // More headers than fit there are counted elsewhere, with 32 bits: no program has so many.
    if header.e_phnum(endian) == PN_XNUM {
        return Err(Error::MissingEntryPoint("the executable has too many headers".to_owned()));
    }
    let mut loader = None;
    for segment in header.program_headers(endian, &file).map_err(broken)? {
        if segment.p_type(endian) == PT_INTERP {
            if segment.p_filesz(endian) > INTERPRETER_BYTES_MAX {
                return Err(Error::MissingEntryPoint("the executable's loader has no sane name".to_owned()));
            }
            loader = segment.interpreter(endian, &file).map_err(broken)?.map(<[u8]>::to_vec);
        }
    }
    // A shared library is ET_DYN as well; it has no place to start at.
    if loader.is_none() && header.e_entry(endian) == 0 {
        return Err(Error::MissingEntryPoint("it is a shared library, not an executable".to_owned()));
    }
    Ok(Needs { loader })
}
