;; Makes one long call of the host, or executes one long instruction, after the other for ever. The first byte of its
;; standard input says which.
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (memory (export "memory") 1600)
  (func (export "_start") (local $what i32)
    ;; An iovec at 0: where the byte goes.
    (i32.store (i32.const 0) (i32.const 64))
    (i32.store (i32.const 4) (i32.const 1))
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
    (local.set $what (i32.load8_u (i32.const 64)))
    (loop $next
      ;; r: 60 MB of random.
      (if (i32.eq (local.get $what) (i32.const 114))
        (then (drop (call $random (i32.const 1024) (i32.const 60000000)))))
      ;; f: 100 MB are filled.
      (if (i32.eq (local.get $what) (i32.const 102))
        (then (memory.fill (i32.const 1024) (i32.const 7) (i32.const 100000000))))
      ;; w: one write of 4 MB to stderr.
      (if (i32.eq (local.get $what) (i32.const 119))
        (then
          (i32.store (i32.const 16) (i32.const 1024))
          (i32.store (i32.const 20) (i32.const 4000000))
          (drop (call $write (i32.const 2) (i32.const 16) (i32.const 1) (i32.const 8)))))
      ;; v: one write of 500,000 empty pieces.
      (if (i32.eq (local.get $what) (i32.const 118))
        (then (drop (call $write (i32.const 2) (i32.const 1024) (i32.const 500000) (i32.const 8)))))
      ;; p: a poll of 2,000 clocks.
      (if (i32.eq (local.get $what) (i32.const 112))
        (then (drop (call $poll (i32.const 1024) (i32.const 50000000) (i32.const 2000) (i32.const 8)))))
      ;; e: the environment; c: the clock.
      (if (i32.eq (local.get $what) (i32.const 101))
        (then (drop (call $environ (i32.const 4096) (i32.const 65536)))))
      (if (i32.eq (local.get $what) (i32.const 99))
        (then (drop (call $clock (i32.const 0) (i64.const 0) (i32.const 32)))))
      (br $next))))
