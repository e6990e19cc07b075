//! QEMU's arguments. A template and its clones must have the very same devices; only where memory, drive and state come
//! from differs. All of them are inherited files: QEMU opens no path of the host but its own folder.

use crate::accelerator::Accelerator;
use crate::config::Shape;

/// Numbers of inherited files in QEMU.
pub(crate) mod fds {
    pub(crate) const MONITOR: i32 = 3;
    pub(crate) const AGENT: i32 = 4;
    pub(crate) const MEMORY: i32 = 5;
    pub(crate) const DISK: i32 = 6;
    pub(crate) const BASE: i32 = 7;
    /// Of a template.
    pub(crate) const KERNEL: i32 = 8;
    pub(crate) const INITRAMFS: i32 = 9;
    /// Of what goes on from a saved state.
    pub(crate) const STATE: i32 = 8;
    /// The tree that QEMU itself is in, where it was fetched and not installed.
    pub(crate) const TREE: i32 = 10;
}

/// What the process is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Template {
        counter_khz: u64,
    },
    /// A template that goes on where another was saved.
    Successor,
    Clone,
}

/// All that QEMU can translate, so that programs find what they may expect, but for what only costs when translated:
/// string moves byte by byte in place of word by word, a switch that ends a block around each copy from and to a program,
/// and a fifth level of page tables.
const TRANSLATED_CPU: &str = "max,erms=off,smap=off,la57=off";

pub(crate) fn arguments(shape: Shape, accelerator: Accelerator, purpose: Purpose) -> Vec<String> {
    let share = if purpose == Purpose::Clone { "off" } else { "on" };
    let (accel, cpu) = match accelerator {
        Accelerator::Kvm => ("kvm", "host"),
        Accelerator::Tcg => ("tcg,thread=multi", TRANSLATED_CPU),
    };
    let memory = format!(
        "memory-backend-file,id=ram,size={}M,mem-path=/proc/self/fd/{},share={share}",
        shape.memory_mib,
        fds::MEMORY
    );
    let mut arguments: Vec<String> =
        ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"].into_iter().map(str::to_owned).collect();
    let mut add = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
    add("-machine", "microvm,memory-backend=ram,acpi=on,rtc=on".to_owned());
    add("-accel", accel.to_owned());
    add("-cpu", cpu.to_owned());
    add("-m", format!("{}M", shape.memory_mib));
    add("-smp", shape.cpus.to_string());
    add("-object", memory);
    add("-chardev", "stdio,id=console,signal=off".to_owned());
    add("-serial", "chardev:console".to_owned());
    add("-chardev", format!("socket,id=monitor,fd={}", fds::MONITOR));
    add("-mon", "chardev=monitor,mode=control".to_owned());
    add("-chardev", format!("socket,id=agent,fd={}", fds::AGENT));
    add("-device", "virtio-serial-device".to_owned());
    add("-device", "virtserialport,chardev=agent,name=agent".to_owned());
    for (set, fd, name) in [(1, fds::DISK, "disk"), (2, fds::BASE, "base")] {
        add("-add-fd", format!("fd={fd},set={set}"));
        let file = format!("file.driver=file,file.filename=/dev/fdset/{set},file.locking=off");
        add("-blockdev", format!("driver=raw,node-name={name},read-only=on,{file}"));
        add("-device", format!("virtio-blk-device,drive={name},serial={name}"));
    }
    add("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny".to_owned());
    match purpose {
        Purpose::Template { counter_khz } => {
            add("-kernel", format!("/proc/self/fd/{}", fds::KERNEL));
            add("-initrd", format!("/proc/self/fd/{}", fds::INITRAMFS));
            add("-append", kernel_arguments(accelerator, counter_khz));
        }
        Purpose::Successor | Purpose::Clone => {
            add("-incoming", "defer".to_owned());
            arguments.push("-S".to_owned());
        }
    }
    arguments
}

/// Where every instruction that a restored guest runs is translated anew, what guards a guest's kernel against its one
/// tenant would only cost: the guard is the machine itself.
fn kernel_arguments(accelerator: Accelerator, counter_khz: u64) -> String {
    // What the kernel keeps for a workload is not the workload's: its bound is the machine's memory.
    let always = "console=ttyS0 quiet reboot=t panic=-1 lsm=capability audit=0 psi=0 nowatchdog \
                  transparent_hugepage=never cgroup.memory=nokmem";
    match accelerator {
        Accelerator::Kvm => always.to_owned(),
        Accelerator::Tcg => format!(
            // The delay loop's turns in a tick of the clock, of which there are 250 in a second.
            "{always} mitigations=off randomize_kstack_offset=off init_on_alloc=0 hardened_usercopy=off \
             no_timer_check tsc=reliable tsc_early_khz={counter_khz} lpj={}",
            counter_khz * 2
        ),
    }
}
