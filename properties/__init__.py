"""Every default of the plugin, with its meaning and unit."""
