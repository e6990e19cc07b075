//! The manifest: the list of an object's chunks, which is a chunk itself and whose digest is the object's address.
//!
//! Bytes: `CCM` and the form's version (1); the object's size (u64, little endian); its BLAKE3 digest (32 bytes);
//! then for each chunk its digest (32 bytes) and its length (u32, little endian).

use protocol::{ByteSize, Digest};

use super::CHUNK_SIZE_MAX;

const MAGIC: [u8; 4] = *b"CCM\x01";
const ENTRY_SIZE: usize = 32 + 4;

/// One chunk of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkRef {
    /// Its address.
    pub digest: Digest,
    /// Its bytes.
    pub length: u32,
}

/// An object: its digest, size and chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// BLAKE3 of the whole.
    pub digest: Digest,
    /// Bytes of the whole.
    pub size: ByteSize,
    /// The chunks, in order.
    pub chunks: Vec<ChunkRef>,
}

impl Manifest {
    /// The committed form. Only tests write it.
    #[cfg(test)]
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = [&MAGIC[..], &self.size.0.to_le_bytes(), &self.digest.0].concat();
        for chunk in &self.chunks {
            bytes.extend_from_slice(&chunk.digest.0);
            bytes.extend_from_slice(&chunk.length.to_le_bytes());
        }
        bytes
    }

    /// Reads the committed form.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let rest = bytes.strip_prefix(&MAGIC).ok_or("it does not begin like one of version 1")?;
        let (size, rest) = rest.split_first_chunk().ok_or("it is cut")?;
        let (digest, rest) = rest.split_first_chunk().ok_or("it is cut")?;
        let (entries, []) = rest.as_chunks::<ENTRY_SIZE>() else { return Err("it is cut") };
        let mut chunks = Vec::with_capacity(entries.len());
        let mut sum = 0_u64;
        for entry in entries {
            let (digest, length) = entry.split_first_chunk().ok_or("it is cut")?;
            let length = u32::from_le_bytes(*length.first_chunk().ok_or("it is cut")?);
            if length == 0 || length as usize > CHUNK_SIZE_MAX {
                return Err("it lists a chunk of an impossible length");
            }
            sum += u64::from(length);
            chunks.push(ChunkRef { digest: Digest(*digest), length });
        }
        let size = u64::from_le_bytes(*size);
        if sum != size {
            return Err("its chunks do not add up to its size");
        }
        Ok(Self { digest: Digest(*digest), size: ByteSize(size), chunks })
    }
}
