;; A plugin without an SDK: the function `double(bigint) -> bigint`, in the text form of
;; WebAssembly. It has the exports of the world `scalar-plugin` of ../../wit/plugin.wit, as the
;; canonical ABI of the component model spells and lays them out; `syncset` makes a component of it.
;;
;; Memory: 0x100 texts, 0x200 answers that never change, 0x2c0 the answer of `call`, 0x400 heap.
(module
  (memory (export "memory") 1)
  (global $heap i32 (i32.const 0x400))
  (global $top (mut i32) (i32.const 0x400))

  (data (i32.const 0x100) "double")
  (data (i32.const 0x110) "0.1.0")
  (data (i32.const 0x120) "none")
  (data (i32.const 0x130) "Twice a number.")
  (data (i32.const 0x140) "l")
  (data (i32.const 0x150) "the double is out of range")

  ;; A text is its address and its length in bytes.
  (data (i32.const 0x200)              ;; description
    "\00\01\00\00\06\00\00\00"         ;;   name
    "\10\01\00\00\05\00\00\00"         ;;   version
    "\20\01\00\00\04\00\00\00"         ;;   sdk
    "\30\01\00\00\0f\00\00\00"         ;;   doc
    "\04\00\00\00"                     ;;   provides: bit 2, scalar
    "\00\00\00\00\00\00\00\00"         ;;   config-schema: none
    "\40\02\00\00\01\00\00\00")        ;;   functions: one, at 0x240
  (data (i32.const 0x240)              ;; function
    "\00\01\00\00\06\00\00\00"         ;;   name
    "\70\02\00\00\01\00\00\00"         ;;   args: one, at 0x270
    "\40\01\00\00\01\00\00\00"         ;;   returns: "l", a bigint
    "\00\01\00\00"                     ;;   volatility: immutable; strict
    "\30\01\00\00\0f\00\00\00")        ;;   doc
  (data (i32.const 0x270)              ;; args
    "\40\01\00\00\01\00\00\00")        ;;   "l"
  (data (i32.const 0x280)              ;; answer of `configure`
    "\00\00\00\00"                     ;;   ok
    "\01\00\00\00\00\00\00\00\00\00\00\00") ;; some: no columns are read
  ;; 0x2a0: answer of `bind`, zeros: ok, no columns are returned.

  (func (export "syncset:plugin/plugin@0.1.0#describe") (result i32)
    (i32.const 0x200))
  (func (export "syncset:plugin/plugin@0.1.0#configure") (param $json i32) (param $bytes i32) (result i32)
    (i32.const 0x280))
  (func (export "syncset:plugin/plugin@0.1.0#bind") (param $fields i32) (param $count i32) (result i32)
    (i32.const 0x2a0))

  ;; What came and what was answered is not needed once the answer was read.
  (func $forget (param $answer i32)
    (global.set $top (global.get $heap)))
  (export "cabi_post_syncset:plugin/plugin@0.1.0#configure" (func $forget))
  (export "cabi_post_syncset:plugin/plugin@0.1.0#bind" (func $forget))
  (export "cabi_post_syncset:plugin/scalar@0.1.0#call" (func $forget))

  ;; There is one function, so its name is not looked at. An argument has 20 bytes: is-constant,
  ;; and at 4 length, at 8 null-count, at 12 the address of its buffers.
  (func (export "syncset:plugin/scalar@0.1.0#call")
    (param $name i32) (param $name-bytes i32) (param $rows i32) (param $args i32) (param $arg-count i32)
    (result i32)
    (local $buffers i32) (local $validity i32) (local $validity-bytes i32) (local $nulls i32)
    (local $from i32) (local $step i32) (local $to i32) (local $row i32)
    (local $number i64) (local $double i64)
    (local.set $nulls (i32.load offset=8 (local.get $args)))
    (local.set $buffers (i32.load offset=12 (local.get $args)))
    (local.set $validity (i32.load (local.get $buffers)))
    (local.set $validity-bytes (i32.load offset=4 (local.get $buffers)))
    (local.set $from (i32.load offset=8 (local.get $buffers)))
    (local.set $step (i32.const 8))
    (if (i32.load8_u (local.get $args))
      (then
        ;; A constant stands for every row. It is not NULL, for the function is strict.
        (local.set $step (i32.const 0))
        (local.set $nulls (i32.const 0))
        (local.set $validity-bytes (i32.const 0))))
    (local.set $to (call $allocate (i32.const 8) (i32.mul (local.get $rows) (i32.const 8))))

    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $row) (local.get $rows)))
        (local.set $number
          (i64.load align=1
            (i32.add (local.get $from) (i32.mul (local.get $row) (local.get $step)))))
        (local.set $double (i64.shl (local.get $number) (i64.const 1)))
        (if (i64.lt_s (i64.xor (local.get $number) (local.get $double)) (i64.const 0))
          (then
            ;; What is under a NULL may be any number.
            (if (call $is-valid (local.get $validity) (local.get $validity-bytes) (local.get $row))
              (then (return (call $refuse (local.get $row)))))))
        (i64.store
          (i32.add (local.get $to) (i32.mul (local.get $row) (i32.const 8)))
          (local.get $double))
        (local.set $row (i32.add (local.get $row) (i32.const 1)))
        (br $next)))

    (i32.store8 (i32.const 0x2c0) (i32.const 0))                     ;; ok
    (i32.store (i32.const 0x2c4) (local.get $rows))                  ;; length
    (i32.store (i32.const 0x2c8) (local.get $nulls))                 ;; null-count
    (i32.store (i32.const 0x2cc) (i32.const 0x2e0))                  ;; buffers: two, at 0x2e0
    (i32.store (i32.const 0x2d0) (i32.const 2))
    (i32.store (i32.const 0x2e0) (local.get $validity))
    (i32.store (i32.const 0x2e4) (local.get $validity-bytes))
    (i32.store (i32.const 0x2e8) (local.get $to))
    (i32.store (i32.const 0x2ec) (i32.mul (local.get $rows) (i32.const 8)))
    (i32.const 0x2c0))

  (func $is-valid (param $bits i32) (param $bytes i32) (param $row i32) (result i32)
    (if (i32.eqz (local.get $bytes)) (then (return (i32.const 1))))
    (i32.and
      (i32.const 1)
      (i32.shr_u
        (i32.load8_u (i32.add (local.get $bits) (i32.shr_u (local.get $row) (i32.const 3))))
        (i32.and (local.get $row) (i32.const 7)))))

  ;; A plugin-error: message, row, no column.
  (func $refuse (param $row i32) (result i32)
    (i32.store8 (i32.const 0x2c0) (i32.const 1))                     ;; error
    (i32.store (i32.const 0x2c4) (i32.const 0x150))                  ;; message
    (i32.store (i32.const 0x2c8) (i32.const 26))
    (i32.store8 (i32.const 0x2cc) (i32.const 1))                     ;; row: some
    (i32.store (i32.const 0x2d0) (local.get $row))
    (i32.store8 (i32.const 0x2d4) (i32.const 0))                     ;; column: none
    (i32.const 0x2c0))

  (func $allocate (param $align i32) (param $bytes i32) (result i32)
    (local $at i32) (local $missing i32)
    (local.set $at
      (i32.and
        (i32.add (global.get $top) (i32.sub (local.get $align) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $align))))
    (global.set $top (i32.add (local.get $at) (local.get $bytes)))
    (local.set $missing
      (i32.sub
        (i32.shr_u (i32.add (global.get $top) (i32.const 0xffff)) (i32.const 16))
        (memory.size)))
    (if (i32.gt_s (local.get $missing) (i32.const 0))
      (then
        (if (i32.lt_s (memory.grow (local.get $missing)) (i32.const 0)) (then (unreachable)))))
    (local.get $at))

  ;; The host asks here for the memory of arguments.
  (func (export "cabi_realloc")
    (param $old i32) (param $old-bytes i32) (param $align i32) (param $bytes i32) (result i32)
    (local $new i32)
    (local.set $new (call $allocate (local.get $align) (local.get $bytes)))
    (memory.copy (local.get $new) (local.get $old) (local.get $old-bytes))
    (local.get $new)))
