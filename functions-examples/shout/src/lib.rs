//! A WASI command without the WASI target: the four calls of preview 1 that it needs are declared by hand. The body
//! comes on stdin, the answer goes to stdout, and the exit code says whether it worked.

/// What is said when there is nothing to shout.
const NOTHING: &str = "nothing to shout: send a body\n";

/// The text in capitals.
fn shout(text: &str) -> String {
    text.to_uppercase()
}

#[cfg(target_arch = "wasm32")]
mod command {
    /// A piece of memory, as preview 1 wants it.
    #[repr(C)]
    struct Piece {
        start: *const u8,
        length: usize,
    }

    #[link(wasm_import_module = "wasi_snapshot_preview1")]
    unsafe extern "C" {
        fn fd_read(file: u32, pieces: *const Piece, count: usize, read: *mut usize) -> u32;
        fn fd_write(file: u32, pieces: *const Piece, count: usize, written: *mut usize) -> u32;
        fn proc_exit(code: u32) -> !;
    }

    const STDIN: u32 = 0;
    const STDOUT: u32 = 1;
    const STDERR: u32 = 2;

    fn read_all() -> Vec<u8> {
        let mut all = Vec::new();
        let mut buffer = vec![0_u8; 16 * 1024];
        loop {
            let piece = Piece { start: buffer.as_mut_ptr(), length: buffer.len() };
            let mut length = 0;
            // SAFETY: the piece is our own buffer, which lives as long as the call.
            let error = unsafe { fd_read(STDIN, &piece, 1, &mut length) };
            if error != 0 || length == 0 {
                return all;
            }
            all.extend_from_slice(&buffer[..length]);
        }
    }

    fn write_all(file: u32, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let piece = Piece { start: bytes.as_ptr(), length: bytes.len() };
            let mut length = 0;
            // SAFETY: the piece is a slice that lives as long as the call.
            let error = unsafe { fd_write(file, &piece, 1, &mut length) };
            if error != 0 || length == 0 {
                return;
            }
            bytes = &bytes[length..];
        }
    }

    /// Where the platform starts the command.
    #[unsafe(no_mangle)]
    extern "C" fn _start() {
        let body = read_all();
        let code = match std::str::from_utf8(&body) {
            Ok("") => {
                write_all(STDERR, super::NOTHING.as_bytes());
                2
            }
            Ok(text) => {
                write_all(STDOUT, super::shout(text).as_bytes());
                0
            }
            Err(_) => {
                write_all(STDERR, b"the body is not UTF-8\n");
                1
            }
        };
        // SAFETY: ends this instance; nothing is left to do.
        unsafe { proc_exit(code) }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn capitals() {
        assert_eq!(super::shout("grüße\n"), "GRÜSSE\n");
        assert!(!super::NOTHING.is_empty());
    }
}
