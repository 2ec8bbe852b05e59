"""What the operating system gives, the same on each platform: processes, files, locks."""
