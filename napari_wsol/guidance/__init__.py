"""Where the next stroke would teach most."""
