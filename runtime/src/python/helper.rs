//! The module `rows.py`, loaded once, with its functions looked up once.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyModule;
use std::ffi::CString;

/// Functions of `rows.py`.
pub struct Helper {
    pub loops: Py<PyAny>,
    pub instant: Py<PyAny>,
    pub instant_in: Py<PyAny>,
    pub zone: Py<PyAny>,
    pub micros_of_instant: Py<PyAny>,
    pub micros_of_instant_in: Py<PyAny>,
    pub days_of_date: Py<PyAny>,
    pub clock: Py<PyAny>,
    pub micros_of_clock: Py<PyAny>,
    pub span: Py<PyAny>,
    pub micros_of_span: Py<PyAny>,
    pub digits_of_decimal: Py<PyAny>,
    pub items_of_list: Py<PyAny>,
    pub objects: Py<PyAny>,
    pub object_items: Py<PyAny>,
    pub series_items: Py<PyAny>,
    pub trace_of: Py<PyAny>,
    pub body_of: Py<PyAny>,
    /// `datetime.date.fromordinal`, `decimal.Decimal`.
    pub date: Py<PyAny>,
    pub decimal: Py<PyAny>,
}

static HELPER: PyOnceLock<Helper> = PyOnceLock::new();

/// The helper, loaded at the first call.
///
/// # Errors
/// The exception of loading it.
pub fn helper(py: Python<'_>) -> PyResult<&Helper> {
    HELPER.get_or_try_init(py, || {
        let code = CString::new(include_str!("rows.py"))?;
        let module = PyModule::from_code(py, &code, c"<fuseline>/rows.py", c"fuseline_rows")?;
        let of = |name: &str| module.getattr(name).map(Bound::unbind);
        Ok(Helper {
            loops: of("loops")?,
            instant: of("instant")?,
            instant_in: of("instant_in")?,
            zone: of("zone")?,
            micros_of_instant: of("micros_of_instant")?,
            micros_of_instant_in: of("micros_of_instant_in")?,
            days_of_date: of("days_of_date")?,
            clock: of("clock")?,
            micros_of_clock: of("micros_of_clock")?,
            span: of("span")?,
            micros_of_span: of("micros_of_span")?,
            digits_of_decimal: of("digits_of_decimal")?,
            items_of_list: of("items_of_list")?,
            objects: of("objects")?,
            object_items: of("object_items")?,
            series_items: of("series_items")?,
            trace_of: of("trace_of")?,
            body_of: of("body_of")?,
            date: py.import("datetime")?.getattr("date")?.getattr("fromordinal")?.unbind(),
            decimal: py.import("decimal")?.getattr("Decimal")?.unbind(),
        })
    })
}
