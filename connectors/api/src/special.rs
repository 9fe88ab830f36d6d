//! Values that SQL has and Arrow has not, and how a batch carries them.
//!
//! Only columns whose native type has such values may hold them. Connectors translate them on
//! both ends; expressions must check for them before they compute.

/// `NaN` of a constrained `numeric` carried as `Decimal128`: outside of every precision.
pub const DECIMAL_NAN: i128 = i128::MIN;

/// `infinity` of a `timestamp` or `timestamptz` carried as `Timestamp(Microsecond)`.
pub const TIMESTAMP_INFINITY: i64 = i64::MAX;

/// `-infinity` of a `timestamp` or `timestamptz` carried as `Timestamp(Microsecond)`.
pub const TIMESTAMP_NEGATIVE_INFINITY: i64 = i64::MIN;

/// `infinity` of a `date` carried as `Date32`.
pub const DATE_INFINITY: i32 = i32::MAX;

/// `-infinity` of a `date` carried as `Date32`.
pub const DATE_NEGATIVE_INFINITY: i32 = i32::MIN;
