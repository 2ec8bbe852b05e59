"""What bgpy keeps on disk for this account: folders, records of servers, tokens, sockets."""
