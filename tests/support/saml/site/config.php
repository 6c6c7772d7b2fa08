<?php

/* SimpleSAMLphp for tests: everything that it keeps lies beside this file. */

$here = __DIR__;
$options = json_decode(file_get_contents("$here/options.json"), true);
$config = [
    'baseurlpath' => $options['address'] . '/simplesaml/',
    'certdir' => "$here/cert/",
    'loggingdir' => "$here/log/",
    'datadir' => "$here/data/",
    'tempdir' => "$here/tmp",
    'metadatadir' => "$here/metadata/",
    'attributenamemapdir' => '/etc/simplesamlphp/attributemap/',
    'secretsalt' => 'only-for-tests',
    'auth.adminpassword' => bin2hex(random_bytes(16)),
    'admin.checkforupdates' => false,
    'technicalcontact_email' => 'nobody@example.org',
    'timezone' => 'UTC',
    'debug' => ['saml' => false, 'backtraces' => true, 'validatexml' => false],
    'showerrors' => true,
    'errorreporting' => false,
    'logging.level' => SimpleSAML\Logger::NOTICE,
    'logging.handler' => 'file',
    'enable.saml20-idp' => true,
    'module.enable' => ['exampleauth' => true, 'core' => true, 'saml' => true],
    'session.cookie.secure' => false,
    'session.cookie.samesite' => null,
    'session.phpsession.savepath' => "$here/sessions",
    'language.cookie.secure' => false,
    'language.default' => 'en',
    'language.available' => ['en'],
    'theme.use' => 'default',
    'authproc.idp' => [],
    'metadata.sources' => array_merge(
        [['type' => 'flatfile']],
        file_exists("$here/services.xml") ? [['type' => 'xml', 'file' => "$here/services.xml"]] : [],
    ),
    'store.type' => 'phpsession',
];
