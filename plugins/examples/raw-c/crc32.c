/* A plugin in C without an SDK and without a library: `crc32(text) -> bigint`.
 *
 * It has the exports of the world `scalar-plugin` of ../../wit/plugin.wit. The records of the
 * contract are laid out as a C compiler lays out the same structs for wasm32. */

#include <stdbool.h>
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(name)))
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define TEXT(literal) { literal, sizeof(literal) - 1 }

typedef struct { const void *at; uint32_t count; } list; /* texts are lists of bytes */

typedef struct {
    list name, args, returns;
    uint8_t volatility;
    bool strict;
    list doc;
} function;

typedef struct {
    list name, version, sdk, doc;
    uint8_t provides;
    list config_schema, functions;
} description;

typedef struct { uint32_t length, null_count; list buffers; } array;
typedef struct { bool is_constant; array values; } argument;

/* Results begin with whether they are an error, options with whether there is something. */
typedef struct { list message; bool has_row; uint32_t row; bool has_column; list column; } error;
typedef struct { bool is_error; union { array array; error error; } is; } call_result;
typedef struct { bool is_error; union { struct { bool has_columns; list columns; } reads; error error; } is; } configure_result;
typedef struct { bool is_error; union { list columns; error error; } is; } bind_result;

enum { PROVIDES_SCALAR = 4, PAGE_BYTES = 65536 };

static const list args[] = { TEXT("u") };
static const function functions[] = { {
    .name = TEXT("crc32"),
    .args = { args, COUNT(args) },
    .returns = TEXT("l"),
    .strict = true,
    .doc = TEXT("The checksum of a text, as zip and gzip compute it."),
} };
static const description self = {
    .name = TEXT("crc32"),
    .version = TEXT("0.1.0"),
    .sdk = TEXT("none"),
    .doc = TEXT("The checksum of a text."),
    .provides = PROVIDES_SCALAR,
    .functions = { functions, COUNT(functions) },
};

/* Memory is taken from the top, and all of it is free once an answer was read. */
extern uint8_t __heap_base;
static uintptr_t top;

static void *allocate(uint32_t align, uint32_t bytes) {
    if (top == 0) top = (uintptr_t)&__heap_base;
    uintptr_t at = (top + align - 1) & -(uintptr_t)align;
    top = at + bytes;
    uint32_t pages = (top + PAGE_BYTES - 1) / PAGE_BYTES, now = __builtin_wasm_memory_size(0);
    if (top < at || (pages > now && __builtin_wasm_memory_grow(0, pages - now) == (uint32_t)-1))
        __builtin_trap();
    return (void *)at;
}

EXPORT("cabi_realloc")
void *cabi_realloc(void *old, uint32_t old_bytes, uint32_t align, uint32_t bytes) {
    uint8_t *new = allocate(align, bytes);
    for (uint32_t i = 0; i < old_bytes; i++) new[i] = ((uint8_t *)old)[i];
    return new;
}

EXPORT("syncset:plugin/plugin@0.1.0#describe")
const description *describe(void) { return &self; }

EXPORT("syncset:plugin/plugin@0.1.0#configure")
const configure_result *configure(const char *json, uint32_t bytes) {
    static const configure_result nothing_is_read = { .is.reads.has_columns = true };
    return &nothing_is_read;
}

EXPORT("syncset:plugin/plugin@0.1.0#bind")
const bind_result *bind(const void *fields, uint32_t count) {
    static const bind_result nothing_is_returned;
    return &nothing_is_returned;
}

EXPORT("cabi_post_syncset:plugin/plugin@0.1.0#configure")
void forget_configure(const void *answer) { top = 0; }
EXPORT("cabi_post_syncset:plugin/plugin@0.1.0#bind")
void forget_bind(const void *answer) { top = 0; }
EXPORT("cabi_post_syncset:plugin/scalar@0.1.0#call")
void forget_call(const void *answer) { top = 0; }

static uint32_t crc32(const uint8_t *bytes, uint32_t count) {
    uint32_t crc = 0xffffffff;
    for (uint32_t i = 0; i < count; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (0xedb88320 & -(crc & 1));
    }
    return ~crc;
}

/* There is one function, so its name is not looked at. */
EXPORT("syncset:plugin/scalar@0.1.0#call")
const call_result *call(const char *name, uint32_t name_bytes, uint32_t rows, const argument *args, uint32_t count) {
    static call_result result;
    static list buffers[2];
    const list *text = args[0].values.buffers.at; /* validity, offsets, bytes */
    const uint8_t *bytes = text[2].at;
    int64_t *sums = allocate(8, rows * 8);
    for (uint32_t row = 0; row < rows; row++) {
        /* Buffers may be at any address. A constant has one value, for every row. */
        struct __attribute__((packed)) { uint32_t from, to; } const *place =
            (const void *)((const uint8_t *)text[1].at + (args[0].is_constant ? 0 : row * 4));
        sums[row] = crc32(bytes + place->from, place->to - place->from);
    }
    /* A strict function is not called with a constant NULL, and NULL in a column stays NULL. */
    buffers[0] = args[0].is_constant ? (list){ 0 } : text[0];
    buffers[1] = (list){ sums, rows * 8 };
    result.is_error = false;
    result.is.array = (array){
        .length = rows,
        .null_count = args[0].is_constant ? 0 : args[0].values.null_count,
        .buffers = { buffers, COUNT(buffers) },
    };
    return &result;
}
