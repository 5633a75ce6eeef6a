mod canonical;
mod fidelity;
mod golden;
mod hostile;
mod reading;
mod store;
