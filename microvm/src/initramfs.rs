//! The guests' first file system: the agent, the modules, two devices.

use std::io::Write;
use std::path::Path;

use cpio::newc::{Builder, ModeFileType, trailer};

use crate::error::Error;
use crate::kernel::Kernel;

pub(crate) fn build(kernel: &Kernel, agent: &Path) -> Result<Vec<u8>, Error> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|error| Error::Missing(format!("{} cannot be read: {error}", path.display())))
    };
    let mut archive = Archive { bytes: Vec::new(), entries: 0 };
    for folder in ["dev", "modules", "parts", "proc", "root", "sys"] {
        archive.add(folder, ModeFileType::Directory, 0o755, (0, 0), &[])?;
    }
    // Without these two the first process of a kernel has no standard streams.
    archive.add("dev/console", ModeFileType::Char, 0o600, (5, 1), &[])?;
    archive.add("dev/null", ModeFileType::Char, 0o666, (1, 3), &[])?;
    archive.add("init", ModeFileType::Regular, 0o755, (0, 0), &read(agent)?)?;
    for (order, module) in kernel.modules.iter().enumerate() {
        let name = module.file_name().and_then(|name| name.to_str()).unwrap_or("module.ko");
        archive.add(&format!("modules/{order:02}-{name}"), ModeFileType::Regular, 0o644, (0, 0), &read(module)?)?;
    }
    trailer(archive.bytes).map_err(Error::io("the initramfs"))
}

struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    fn add(
        &mut self,
        name: &str,
        kind: ModeFileType,
        mode: u32,
        device: (u32, u32),
        content: &[u8],
    ) -> Result<(), Error> {
        self.entries += 1;
        let length = u32::try_from(content.len()).map_err(|_| Error::Missing(format!("{name} is too large")))?;
        let builder = Builder::new(name)
            .ino(self.entries)
            .nlink(1)
            .mode(mode)
            .set_mode_file_type(kind)
            .rdev_major(device.0)
            .rdev_minor(device.1);
        let mut writer = builder.write(&mut self.bytes, length);
        writer.write_all(content).and_then(|()| writer.finish().map(|_| ())).map_err(Error::io("the initramfs"))
    }
}
