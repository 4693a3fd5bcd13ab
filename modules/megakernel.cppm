/// Everything: `import megakernel;`. Each module can also be imported alone.
export module megakernel;
export import megakernel.protocol;  // the wire: ABI, errors, encoders, publishers, readers, IO
export import megakernel.decoder;   // what is read back: telemetry, windows, health
