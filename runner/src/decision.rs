//! What a run does with a table, given what is stored of it. Pure.

use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::gone::Gone;
use crate::planned::PlannedTable;
use crate::reshape::{Reshape, Unfit, released, reshape};
use crate::rules::Rules;
use crate::shell;
use crate::since::{Since, agreement};
use serde::Serialize;
use syncset_connector::{
    About, HeldRows, MadeTable, PipelineKey, PipelineState, Retelling, Store, StreamPhase,
    StreamState, TableAlteration, TableName, WriteMode,
};
use syncset_pipeline::{
    DELETED_AT, LostColumn, Renames, SelectionChange, SourceChange, SourceChangeKind,
    under_new_names,
};

/// What a run does with a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Action {
    /// Load everything: there is no watermark.
    Load,
    /// Go on with the chunks of a load that was interrupted.
    Resume,
    /// Read what changed since the watermark, or differs by its hashes.
    Follow,
    /// Read the whole table, as its capture mode does in each run.
    Full,
    /// Load everything again and compare keys.
    Reload(String),
    /// Nothing until a person agrees: the selection was edited, or the source's table changed.
    Approve,
}

/// What a run does with a table, and what its target table needs first.
#[derive(Debug)]
pub(crate) struct Decision {
    /// What a run does.
    pub(crate) action: Action,
    /// What was edited since the table was loaded.
    pub(crate) changes: Vec<SelectionChange>,
    /// What became of the source's table since then.
    pub(crate) source: Vec<SourceChange>,
    /// What of that nobody agreed to.
    pub(crate) refused: Vec<SourceChange>,
    /// How the target table has to be altered first.
    pub(crate) alteration: Option<TableAlteration>,
    /// The target table that it wrote before and does not write any more.
    pub(crate) leaves: Option<TableName>,
    /// What is to be stored of the selection although no row is loaded again.
    pub(crate) retelling: Option<Retelling>,
}

/// Decides.
///
/// # Errors
/// Everything that stops the table: a target that is not ours, or that differs in what an
/// alteration does not settle.
pub(crate) fn decide(
    table: &PlannedTable,
    state: &PipelineState,
    key: &PipelineKey,
    rules: Rules<'_>,
) -> Result<Decision, Failures> {
    let lost = lost_columns(table);
    if !lost.is_empty() {
        return Err(Failures(lost));
    }
    let stream = table.stream();
    let stored = state.streams.iter().find(|stored| stored.stream == stream);
    let moved = stored.filter(|stored| !is_same(&stored.target, &table.target.name));
    if stored.is_none() || moved.is_some() {
        may_claim(table, state, key)?;
    }
    let edited = stored.filter(|stored| stored.selection != table.plan.read.selection);
    let made = made_of(table, state);
    let since = Since::of(table, stored, made);
    let is_half_done = stored.is_some_and(|stored| stored.selection.is_empty());
    // A run was killed between making the table and its first row.
    let is_untouched = stored.is_none() && table.status.empty;
    let unfit = match since.is_edited || is_half_done {
        _ if is_untouched => Unfit::Untouched,
        true => Unfit::MadeAnew,
        false => Unfit::Stays,
    };
    let here = stored.filter(|_| moved.is_none());
    let reshape = needed_reshape(table, state, (here, edited.is_some()), unfit)?;
    let takes = reshape.as_ref().and_then(|reshape| reshape.takes.as_ref());
    if let Some(names) = takes.filter(|_| !rules.is_approved(table)) {
        return Err(name_is_taken(table, names).into());
    }
    let unsettled = table.status.differences.iter().filter(|difference| {
        let settles = |reshape: &Reshape| reshape.settles(difference);
        let is_needed = difference.about != About::Changes || table.write() != WriteMode::Append;
        is_needed && !reshape.as_ref().is_some_and(settles)
    });
    let unsettled: Vec<_> = unsettled
        .map(|difference| {
            // What is wrong, then what mends it.
            let difference = difference.to_string();
            let (wrong, mend) = difference.split_once("; ").unwrap_or((&difference, ""));
            let message = format!("table `{stream}`: {wrong}");
            let failure = Failure::new(exit_code::APPROVAL, message);
            match mend {
                "" => failure.with_hint("alter the target table, or leave the column out"),
                mend => failure.with_hint(format!("at the target: {mend}")),
            }
        })
        .collect();
    if !unsettled.is_empty() {
        return Err(Failures(unsettled));
    }
    let keeps_rows = since.leaves_rows(table)
        || since.needs_no_rows()
            && since.renames_ours(table, made)
            && reshape.as_ref().is_none_or(|it| it.keeps_rows);
    let refused = since.refused(table, rules);
    let asked = Asked {
        edit: since.is_edited && !rules.agrees_to_edits(table),
        source: !refused.is_empty(),
    };
    let action = action(table, stored, &since, (asked, keeps_rows), rules);
    let is_reshaped = reshape.is_some();
    let action = match action {
        Action::Full | Action::Resume | Action::Follow if is_reshaped && !keeps_rows => {
            // As after a crash between an alteration and the load that fills it, if the edit was
            // undone before the next run.
            Action::Reload("columns of the target table are not what was loaded".into())
        }
        action => action,
    };
    let mut alteration = reshape.map(|reshape| reshape.alteration);
    if let Some(alteration) = &mut alteration {
        alteration.released = released(alteration, &state.made);
        if keeps_rows {
            alteration.rows = HeldRows::Stay;
        }
        if rules.is_approved(table) {
            alteration.agree_to_copy();
            alteration.made.agreed = stored.map_or_else(String::new, |it| agreement(table, it));
        }
    }
    if table.write() == WriteMode::Append && !table.status.empty {
        let held = "its target table holds rows already";
        match &action {
            Action::Load => return Err(would_append_twice(table, held).into()),
            Action::Reload(why) => {
                return Err(would_append_twice(table, &format!("{why}, and {held}")).into());
            }
            Action::Resume | Action::Follow | Action::Full | Action::Approve => {}
        }
    }
    Ok(Decision {
        changes: since.edits,
        source: since.source,
        refused,
        retelling: stored.and_then(|stored| retelling(table, stored, &action)),
        action,
        alteration,
        leaves: moved.map(|stored| stored.target.clone()),
    })
}

/// What a person has to be asked about.
#[derive(Debug, Clone, Copy)]
struct Asked {
    /// An edit of the selection.
    edit: bool,
    /// A change of the source's table.
    source: bool,
}

fn action(
    table: &PlannedTable,
    stored: Option<&StreamState>,
    since: &Since,
    (asked, keeps_rows): (Asked, bool),
    rules: Rules<'_>,
) -> Action {
    let follows = table.plan.read.capture.heals_loads();
    let Some(stored) = stored else {
        return if follows { Action::Load } else { Action::Full };
    };
    if asked.edit || asked.source {
        return Action::Approve;
    }
    if rules.full_refresh {
        return Action::Reload("--full-refresh".into());
    }
    if stored.selection.is_empty() {
        return Action::Reload("it was reset, or its table was altered".into());
    }
    if (since.is_edited || !since.source.is_empty()) && !keeps_rows {
        return Action::Reload(since.reason());
    }
    if !table.status.exists {
        return Action::Reload("the target table is gone".into());
    }
    if !follows {
        return Action::Full;
    }
    match stored.phase {
        StreamPhase::Loading | StreamPhase::Settling => Action::Resume,
        StreamPhase::Following => Action::Follow,
    }
}

/// Why a table stops whose file needs columns that the source dropped.
fn lost_columns(table: &PlannedTable) -> Vec<Failure> {
    let stream = table.stream();
    let failure = |lost: &LostColumn| {
        let message = format!("table `{stream}`: {}", lost.sentence());
        Failure::new(exit_code::APPROVAL, message).with_hint(lost.hint())
    };
    table.plan.lost.iter().map(failure).collect()
}

/// What is to be stored of the selection of a stream that goes on where it was: state of an older
/// version does not say how columns were chosen, an edit may choose the same ones in another way,
/// and a table that is appended to gets new columns without being loaded again.
fn retelling(table: &PlannedTable, stored: &StreamState, action: &Action) -> Option<Retelling> {
    match action {
        Action::Follow | Action::Resume => {}
        // A table that is read whole stores it with each run.
        Action::Full | Action::Load | Action::Reload(_) | Action::Approve => return None,
    }
    let text = &table.plan.selection_text;
    (stored.selection_text.as_ref() != Some(text)).then(|| Retelling {
        stream: stored.stream.clone(),
        from: stored.selection.clone(),
        selection: table.plan.read.selection.clone(),
        selection_text: text.clone(),
    })
}

/// The failure of a table whose column gets the name of one whose values are kept, as long as nobody
/// has agreed that they are lost.
fn name_is_taken(table: &PlannedTable, (from, to): &(String, String)) -> Failure {
    let (stream, target) = (table.stream(), &table.target.name);
    let message = format!(
        "table `{stream}`: column `{from}` of `{target}` is to be called `{to}`, and a column of \
         that name keeps what was copied before the source dropped it"
    );
    Failure::new(exit_code::APPROVAL, message).with_hint(format!(
        "rename `{to}` at the target; or agree with `syncset schema approve` that its values are \
         lost; or keep the target's name with `rename: {{ {to}: {from} }}`"
    ))
}

/// What has to become of a target table that exists and is ours. `stored`: what is stored of its
/// stream, and whether that is another selection than the plan's.
fn needed_reshape(
    table: &PlannedTable,
    state: &PipelineState,
    (stored, is_other): (Option<&StreamState>, bool),
    unfit: Unfit,
) -> Result<Option<Reshape>, Failure> {
    let made = made_of(table, state);
    let text = stored.map(|stored| stored.selection_text.as_deref().unwrap_or_default());
    let other = text.filter(|_| is_other);
    if !table.status.exists || made.is_none() && other.is_none() {
        return Ok(None);
    }
    // Names that only change hands leave the selection as it is.
    let (under_new_names, renames) = match text {
        Some(text) => under_new_names(text, &table.plan),
        None => (String::new(), Renames::default()),
    };
    let written = other.map(|text| {
        let gone = |column: &str| {
            let mut changes = table.plan.source_changes.iter();
            changes.any(|it| it.kind == SourceChangeKind::Dropped && it.column == column)
        };
        let mut written = written_columns(text, gone);
        // A column that is not ours may have been renamed by its owner.
        let is_ours = |name: &str| {
            let mut columns = made.iter().flat_map(|made| &made.columns);
            columns.any(|column| column.name == name)
        };
        let named = written_columns(&under_new_names, gone).into_iter();
        written.extend(named.filter(|name| renames.from(name).is_some_and(|it| !is_ours(it))));
        written
    });
    reshape(table, made, written.as_deref(), &renames, unfit)
}

/// What was made of the target table.
pub(crate) fn made_of<'a>(table: &PlannedTable, state: &'a PipelineState) -> Option<&'a MadeTable> {
    let target = &table.target.name;
    state.made.iter().find(|made| is_same(&made.target, target))
}

/// Names at the target of the columns that a selection wrote, but for those whose column is gone from
/// the source: they may keep what they hold.
fn written_columns(selection_text: &str, is_gone: impl Fn(&str) -> bool) -> Vec<String> {
    let selection: serde_json::Value = serde_json::from_str(selection_text).unwrap_or_default();
    let columns = selection["columns"].as_array();
    let names = columns.into_iter().flatten();
    let names = names.filter(|column| !column["column"].as_str().is_some_and(&is_gone));
    let names = names.filter_map(|column| column["to"].as_str());
    let deleted_at = selection["on_delete"].as_str().map(|_| DELETED_AT);
    let marks = deleted_at
        .into_iter()
        .chain(selection["synced_at"].as_str());
    names.chain(marks).map(str::to_owned).collect()
}

/// Stores without schemas leave theirs out, or call it `main`.
fn is_same(left: &TableName, right: &TableName) -> bool {
    let schemas_fit =
        left.schema == right.schema || left.schema.is_none() || right.schema.is_none();
    left.name == right.name && schemas_fit
}

/// A target table may be claimed if it is ours already, or nobody's and without a row.
fn may_claim(
    table: &PlannedTable,
    state: &PipelineState,
    key: &PipelineKey,
) -> Result<(), Failure> {
    let target = &table.target.name;
    let refuse = |what: String, hint: &str| {
        let message = format!("table `{}`: target table `{target}` {what}", table.stream());
        Err(Failure::new(exit_code::GUARD, message).with_hint(hint))
    };
    match state
        .owners
        .iter()
        .find(|owner| is_same(&owner.target, target))
    {
        Some(owner) if owner.key == *key => Ok(()),
        Some(owner) => refuse(
            format!("belongs to pipeline `{}`", owner.key),
            "write to another table with `to:`; two pipelines never write one table",
        )
        .map_err(|failure| Failure {
            owner: Some(Box::new(owner.key.clone())),
            ..failure
        }),
        None if table.status.exists && !table.status.empty => refuse(
            "holds rows that syncset did not write".into(),
            "write to another table with `to:`, or empty this one; nothing was changed",
        ),
        None => Ok(()),
    }
}

/// The failure of a table whose rows could only be appended once more.
pub(crate) fn would_append_twice(table: &PlannedTable, reason: &str) -> Failure {
    let (stream, target) = (table.stream(), &table.target.name);
    let message = format!("table `{stream}` is appended to and cannot be loaded again: {reason}");
    Failure::new(exit_code::GUARD, message).with_hint(format!(
        "nothing was written; empty `{target}` and run with `--full-refresh --tables {}`, or \
         write to another table with `to:`",
        shell::word(stream)
    ))
}

/// What a person should know of a target table that is not written any more.
pub(crate) fn left_behind(store: &dyn Store, target: &TableName) -> String {
    format!(
        "`{target}` is not written any more: its rows stay; to drop them: DROP TABLE {}",
        store.quoted(target)
    )
}

/// Streams with stored progress that the pipeline no longer has, each with the sentence that says
/// what to do. `planned`: all tables of the pipeline; `store`: its target.
pub(crate) fn departed<'a>(
    state: &PipelineState,
    pipeline: &str,
    (planned, gone): (impl Iterator<Item = &'a PlannedTable> + Clone, &[Gone]),
    store: &dyn Store,
) -> Vec<String> {
    let is_gone = |stored: &&StreamState| {
        !stored.selection.is_empty()
            && !gone.iter().any(|gone| gone.stream == stored.stream)
            && !planned.clone().any(|table| {
                table.stream() == stored.stream || is_same(&table.target.name, &stored.target)
            })
    };
    let gone = state.streams.iter().filter(is_gone);
    gone.map(|stored| gone_sentence(store, stored, pipeline))
        .collect()
}

/// What a person should know of a table that the pipeline no longer has.
pub(crate) fn gone_sentence(store: &dyn Store, stored: &StreamState, pipeline: &str) -> String {
    let (stream, target) = (&stored.stream, &stored.target);
    format!(
        "table `{stream}` is not in the pipeline any more: `{target}` stays as it was; \
         to forget it: syncset pipeline reset {pipeline} --tables {}; \
         to drop its rows: DROP TABLE {}",
        shell::word(stream),
        store.quoted(target)
    )
}
