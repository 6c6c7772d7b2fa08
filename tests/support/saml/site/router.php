<?php

/* PHP's own server has no aliases: `/simplesaml/…` is what SimpleSAMLphp offers to the web. */

$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
$below = '/usr/share/simplesamlphp/www';
if (str_contains($path, '..')) {
    http_response_code(404);
    return;
}
if (preg_match('#^/simplesaml(/(?:resources|assets)/[A-Za-z0-9/._-]+\.(js|css))$#', $path, $found)) {
    header('Content-Type: text/' . ['js' => 'javascript', 'css' => 'css'][$found[2]]);
    @readfile($below . $found[1]); /* its pages send their forms by a script */
    return;
}
if (!preg_match('#^/simplesaml(/[A-Za-z0-9/._-]+\.php)(/.*)?$#U', $path, $found)) {
    http_response_code(404);
    return;
}
$_SERVER['SCRIPT_NAME'] = '/simplesaml' . $found[1];
$_SERVER['SCRIPT_FILENAME'] = $below . $found[1];
$_SERVER['PHP_SELF'] = $path;
$_SERVER['PATH_INFO'] = $found[2] ?? '';
chdir(dirname($below . $found[1]));
require $below . $found[1];
