//! Numbers: their ranges, and the digits that a column keeps.

use super::Rule;
use super::nearest::{Outcome, Verdict, primitive};
use Verdict::{Fits, Nearest, Nothing};
use arrow_array::types::{ArrowPrimitiveType, DecimalType};
use arrow_array::{ArrayRef, ArrowNativeTypeOp};
use syncset_connector::Domain;

pub(super) fn float(value: f64, single: bool, unsigned: bool) -> Verdict<f64> {
    if !value.is_finite() || unsigned && value < 0.0 {
        return Nothing;
    }
    if !single {
        return Fits;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the nearest float of 32 bits is what is asked"
    )]
    let near = f64::from(value as f32);
    if near.to_bits() == value.to_bits() {
        Fits
    } else if near.is_finite() {
        Nearest(near)
    } else {
        Nothing
    }
}

pub(super) fn integers<T>(array: &ArrayRef, domain: &Domain, rule: Rule) -> Outcome
where
    T: ArrowPrimitiveType,
    i128: From<T::Native>,
{
    primitive::<T>(array, rule, |value| {
        let value = i128::from(value);
        let fits = match domain {
            Domain::Integers { min, max } => value >= *min && value <= *max,
            Domain::Bits(bits) => value >= 0 && (*bits >= 64 || value >> bits == 0),
            Domain::Years => value == 0 || (1901..=2155).contains(&value),
            Domain::Decimals {
                precision,
                scale,
                unsigned,
            } => {
                let whole = precision.saturating_sub(*scale);
                let limit = 10_u128.checked_pow(whole).unwrap_or(u128::MAX);
                value.unsigned_abs() < limit && !(*unsigned && value < 0)
            }
            _ => true,
        };
        match fits {
            true => Fits,
            false => Nothing,
        }
    })
}

pub(super) fn decimals<T: DecimalType>(
    array: &ArrayRef,
    scale: i8,
    domain: &Domain,
    rule: Rule,
) -> Outcome {
    primitive::<T>(array, rule, |value| decimal::<T>(value, scale, domain))
}

/// A decimal, rounded half away from zero to the digits behind the point that there are.
fn decimal<T: DecimalType>(value: T::Native, scale: i8, domain: &Domain) -> Verdict<T::Native> {
    let (kept, unsigned) = match domain {
        Domain::Decimals {
            scale, unsigned, ..
        } => (*scale, *unsigned),
        Domain::Integers { .. } => (0, false),
        _ => return Fits,
    };
    let is_nan = value == T::Native::MIN_TOTAL_ORDER;
    if is_nan || unsigned && value.is_lt(T::Native::ZERO) {
        return Nothing;
    }
    let Ok(scale) = u32::try_from(scale) else {
        return Fits;
    };
    let Some(near) = rounded::<T>(value, scale, kept) else {
        return Nothing;
    };
    match (is_in_range::<T>(near, scale, domain), near == value) {
        (false, _) => Nothing,
        (true, true) => Fits,
        (true, false) => Nearest(near),
    }
}

/// Whether the digits before the point fit.
fn is_in_range<T: DecimalType>(value: T::Native, scale: u32, domain: &Domain) -> bool {
    match domain {
        Domain::Integers { min, max } => {
            let whole = ten::<T>()
                .and_then(|ten| ten.pow_checked(scale).ok())
                .and_then(|step| value.div_checked(step).ok())
                .map(|whole| T::format_decimal(whole, T::MAX_PRECISION, 0));
            let whole = whole.and_then(|text| text.parse::<i128>().ok());
            whole.is_some_and(|whole| whole >= *min && whole <= *max)
        }
        Domain::Decimals {
            precision,
            scale: kept,
            ..
        } => {
            let digits = precision.saturating_sub(*kept) + scale;
            let limit = ten::<T>().and_then(|ten| ten.pow_checked(digits).ok());
            // A limit that the type cannot hold is one that its values cannot pass.
            limit.is_none_or(|limit| value.is_lt(limit) && value.is_gt(limit.neg_wrapping()))
        }
        _ => true,
    }
}

fn ten<T: DecimalType>() -> Option<T::Native> {
    let mut ten = T::Native::ZERO;
    for _ in 0..10 {
        ten = ten.add_checked(T::Native::ONE).ok()?;
    }
    Some(ten)
}

/// A value of `scale` decimals, rounded until `kept` of them are left.
fn rounded<T: DecimalType>(value: T::Native, scale: u32, kept: u32) -> Option<T::Native> {
    let surplus = scale.saturating_sub(kept);
    if surplus == 0 {
        return Some(value);
    }
    let step = ten::<T>()?.pow_checked(surplus).ok()?;
    let rest = value.mod_checked(step).ok()?;
    if rest.is_zero() {
        return Some(value);
    }
    let cut = value.sub_checked(rest).ok()?;
    let twice = rest.add_checked(rest).ok()?;
    if twice.is_ge(step) {
        cut.add_checked(step).ok()
    } else if twice.is_le(step.neg_wrapping()) {
        cut.sub_checked(step).ok()
    } else {
        Some(cut)
    }
}
