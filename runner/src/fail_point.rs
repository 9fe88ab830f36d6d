//! Named points at which the crash tests stop the process, those of the runner and of connectors.

pub(crate) use syncset_connector::fail_point;
