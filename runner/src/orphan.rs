//! Target tables whose owner has no file any more: what to do about them.

use crate::failure::Failure;
use syncset_connector::PipelineKey;

/// Says how to take the table over, if the pipeline that has it seems to have been renamed or
/// moved. `pipelines`: names of the files of this project.
pub(crate) fn suggest_adoption(failure: &mut Failure, key: &PipelineKey, pipelines: &[String]) {
    let Some(owner) = &failure.owner else { return };
    let (old, new) = (&owner.pipeline, &key.pipeline);
    let else_do = "otherwise write to another table with `to:`";
    if owner.project != key.project {
        failure.hint = Some(format!(
            "if it was moved here from the project `{}`: `syncset pipeline adopt {old} {new} \
             --project-from {}`; {else_do}",
            owner.project, owner.project
        ));
    } else if !pipelines.contains(old) {
        failure.hint = Some(format!(
            "`pipelines/{old}.yaml` is gone: if it was renamed, or this one takes its place, \
             `syncset pipeline adopt {old} {new}`; {else_do}"
        ));
    }
}
